//! What a run still has to send: the request's head, then stdin.

use std::io;

use bytes::{Buf, Bytes};

use super::session::Session;
use super::socket::Socket;
use super::{MAX_MOVED, Moved, Stdin};
use crate::Error;

#[derive(Debug)]
pub(super) struct Outgoing {
    head: Bytes,
    /// The part of stdin that is being sent.
    chunk: Bytes,
    stdin: Stdin,
    sent: bool,
    /// Why sending ended early.
    failure: Option<io::Error>,
}

impl Outgoing {
    pub(super) fn new(head: Bytes, stdin: Stdin) -> Self {
        Self {
            head,
            chunk: Bytes::new(),
            stdin,
            sent: false,
            failure: None,
        }
    }

    /// Sends until the socket takes no more, nothing is left, or others want their turn.
    ///
    /// A peer that takes no more for good is no failure yet: it may have answered, because the command
    /// did not want all of its stdin or the server did not want the request.
    pub(super) fn send(&mut self, socket: &Socket, session: &mut Session) -> Result<Moved, Error> {
        let mut budget = MAX_MOVED;
        loop {
            self.refill(session)?;
            if self.head.is_empty() && self.chunk.is_empty() {
                return Ok(Moved::UntilBlocked);
            }
            if budget == 0 {
                return Ok(Moved::UpToLimit);
            }
            let part = &self.chunk[..self.chunk.len().min(budget)];
            match socket.send([&self.head, part]) {
                Ok(len) => {
                    self.advance(len);
                    budget = budget.saturating_sub(len);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Moved::UntilBlocked);
                }
                Err(error) => {
                    self.head.clear();
                    self.chunk.clear();
                    self.stdin = Stdin::empty();
                    self.failure = Some(error);
                }
            }
        }
    }

    /// What to say when the server closed the connection before its answer was complete.
    pub(super) fn cut_off(&mut self) -> Error {
        let source = self.failure.take();
        self.disconnected(source.unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into()))
    }

    pub(super) fn disconnected(&self, source: io::Error) -> Error {
        let sent = self.sent;
        Error::Disconnected { sent, source }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.head.is_empty() && self.chunk.is_empty() && self.stdin.is_empty()
    }

    /// Whether any byte was sent.
    pub(super) fn sent(&self) -> bool {
        self.sent
    }

    fn refill(&mut self, session: &mut Session) -> Result<(), Error> {
        if self.chunk.is_empty() {
            let sent = self.sent;
            let data = self.stdin.next_chunk();
            let data = data.map_err(|source| Error::Stdin { sent, source })?;
            self.chunk = session.send_stdin(data).map_err(Error::Request)?;
        }
        Ok(())
    }

    fn advance(&mut self, len: usize) {
        self.sent |= len > 0;
        let of_head = len.min(self.head.len());
        self.head.advance(of_head);
        self.chunk.advance(len - of_head);
    }
}
