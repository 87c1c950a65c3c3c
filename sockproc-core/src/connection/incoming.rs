//! What comes from the server, and what it changes.

use std::io::{self, Read};
use std::mem::MaybeUninit;

use super::plan::Next;
use super::{Connection, MAX_MOVED, Receiver, Stopped};
use crate::Error;
use crate::proto::{ClientEvent, ProtocolError};

impl<R: Receiver> Connection<R> {
    /// Receives until the socket has no more, the answer is complete, or others want their turn.
    pub(super) fn receive(&mut self) -> Result<Stopped, Error> {
        let mut budget = MAX_MOVED as u64;
        loop {
            self.take_answer()?;
            self.take_events()?;
            if self.session.is_over() || self.wants_reconnect {
                return Ok(Stopped::Blocked);
            }
            if budget == 0 {
                return Ok(Stopped::AtLimit);
            }
            match self.receive_some(budget) {
                Ok(0) => self.session.receive_eof(),
                Ok(len) => budget = budget.saturating_sub(len),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Stopped::Blocked);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.outgoing.disconnected(error)),
            }
        }
    }

    /// Receives some bytes, at most `limit` of them straight to where they belong; 0 is end of file.
    fn receive_some(&mut self, limit: u64) -> io::Result<u64> {
        let Some((stream, left)) = self.session.payload() else {
            let mut buf = [MaybeUninit::uninit(); HEAD_LEN];
            let (data, _) = rustix::io::read(&self.link.socket, &mut buf)?;
            self.session.receive_data(data);
            return Ok(data.len() as u64);
        };
        let limit = left.min(limit);
        let mut source = self.link.socket.reader().take(limit);
        let result = self.receiver.read_from(stream, &mut source);
        let len = limit - source.limit();
        let counted = self.session.receive_payload(len);
        counted.map_err(io::Error::other)?;
        match result {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && len > 0 => Ok(len),
            result => result.map(|()| len),
        }
    }

    /// Goes on in the protocol that the server speaks, once that is known.
    fn take_answer(&mut self) -> Result<(), Error> {
        match self.session.answer() {
            Ok(None) => Ok(()),
            Ok(Some(answer)) => match self.plan.next(&self.link, &self.session, answer)? {
                Next::Native { rest } => {
                    if let Some(request) = self.session.become_native(&rest) {
                        self.outgoing.push(request);
                    }
                    for frame in std::mem::take(&mut self.early) {
                        self.outgoing.push(frame);
                    }
                    // The socket was not asked for room: nothing waited for it.
                    self.outgoing.send(&self.link.socket, &mut self.session)?;
                    Ok(())
                }
                Next::Again { session, head } => {
                    self.outgoing.restart();
                    self.session = session;
                    self.push_head(head);
                    self.wants_reconnect = true;
                    Ok(())
                }
            },
            Err(ProtocolError::Truncated) => Err(self.outgoing.cut_off()),
            Err(error) if self.session.holds_request_back() => {
                Err(self.plan.stranger(&self.link, error))
            }
            Err(error) => Err(Error::Protocol(error)),
        }
    }

    fn take_events(&mut self) -> Result<(), Error> {
        loop {
            match self.session.next_event() {
                Ok(None) => return Ok(()),
                Ok(Some(event)) => self.take_event(event)?,
                Err(ProtocolError::Truncated) => return Err(self.outgoing.cut_off()),
                Err(error) => return Err(Error::Protocol(error)),
            }
        }
    }

    fn take_event(&mut self, event: ClientEvent) -> Result<(), Error> {
        match &event {
            ClientEvent::Started { pid } => {
                self.pid = Some(*pid);
                self.outgoing.drop_descriptors();
            }
            ClientEvent::StdinClosed => self.outgoing.stop_stdin(),
            _ => {}
        }
        match event {
            ClientEvent::Refused(refusal) => Err(refusal.into()),
            ClientEvent::Failed { message } => Err(Error::Failed { message }),
            event => self.receiver.receive(event),
        }
    }
}

/// What is received at once where a line is expected; a short answer fits whole.
const HEAD_LEN: usize = 8 * 1024;
