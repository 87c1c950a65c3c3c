//! What a run still has to send: a queue of buffers, which stdin fills as far as the session allows.

use std::collections::VecDeque;
use std::io;

use bytes::{Buf, Bytes};

use super::session::{Session, StdinEnd};
use super::socket::Socket;
use super::{MAX_MOVED, Moved};
use crate::{Error, Stdin};

#[derive(Debug)]
pub(super) struct Outgoing {
    queue: VecDeque<Bytes>,
    stdin: Stdin,
    stdin_state: StdinState,
    sent: bool,
    /// Why sending ended early.
    failure: Option<io::Error>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StdinState {
    /// More of it may come.
    Open,
    /// Its end is to be told once the queue is empty, by a half-close.
    HalfCloseLeft,
    Ended,
}

impl Outgoing {
    pub(super) fn new(head: Bytes, stdin: Stdin) -> Self {
        Self {
            queue: VecDeque::from([head]),
            stdin,
            stdin_state: StdinState::Open,
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
            if self.queue.is_empty() {
                self.half_close(socket);
                return Ok(Moved::UntilBlocked);
            }
            if budget == 0 {
                return Ok(Moved::UpToLimit);
            }
            match socket.send(self.next_parts(budget)) {
                Ok(len) => {
                    self.advance(len);
                    budget = budget.saturating_sub(len);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Moved::UntilBlocked);
                }
                Err(error) => {
                    self.forget();
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

    /// Whether there is something to send now.
    pub(super) fn is_waiting(&self, session: &Session) -> bool {
        !self.queue.is_empty()
            || self.stdin_state == StdinState::HalfCloseLeft
            || self.has_stdin(session)
    }

    /// Whether a streamed stdin may be given more: all that it was given has been sent.
    pub(super) fn wants_stdin(&self, session: &Session) -> bool {
        self.stdin_state == StdinState::Open
            && self.stdin.is_streamed()
            && self.stdin.is_empty()
            && self.queue.is_empty()
            && session.stdin_room() > 0
    }

    /// More of a streamed stdin; no bytes end it.
    pub(super) fn push_stdin(&mut self, data: Bytes) {
        if self.stdin_state == StdinState::Open {
            self.stdin.push(data);
        }
    }

    /// Whether any byte was sent.
    pub(super) fn sent(&self) -> bool {
        self.sent
    }

    /// Nothing more is to be sent.
    fn forget(&mut self) {
        self.queue.clear();
        self.stdin = Stdin::empty();
        self.stdin_state = StdinState::Ended;
    }

    /// Whether stdin, or its end, may go into the queue.
    fn has_stdin(&self, session: &Session) -> bool {
        self.stdin_state == StdinState::Open
            && match self.stdin.is_empty() {
                true => !self.stdin.is_streamed(),
                false => session.stdin_room() > 0,
            }
    }

    /// Keeps one piece of stdin in the queue, behind what is there.
    fn refill(&mut self, session: &mut Session) -> Result<(), Error> {
        while self.queue.len() < 2 && self.has_stdin(session) {
            let sent = self.sent;
            let room = session.stdin_room();
            let data = self.stdin.next_chunk(room);
            let data = data.map_err(|source| Error::Stdin { sent, source })?;
            if !data.is_empty() {
                self.queue
                    .push_back(session.send_stdin(data).map_err(Error::Request)?);
                continue;
            }
            self.stdin_state = match session.end_stdin().map_err(Error::Request)? {
                StdinEnd::Counted => StdinState::Ended,
                StdinEnd::HalfClose => StdinState::HalfCloseLeft,
            };
        }
        Ok(())
    }

    fn half_close(&mut self, socket: &Socket) {
        if self.stdin_state == StdinState::HalfCloseLeft {
            self.stdin_state = StdinState::Ended;
            // The answer tells why the server takes no more.
            let _ = socket.half_close();
        }
    }

    /// The beginning of the queue, `budget` bytes of it at most.
    fn next_parts(&self, budget: usize) -> [&[u8]; 2] {
        let part = |index| self.queue.get(index).map_or(&[][..], |bytes| &bytes[..]);
        let (first, second) = (part(0), part(1));
        let of_first = first.len().min(budget);
        let of_second = second.len().min(budget - of_first);
        [&first[..of_first], &second[..of_second]]
    }

    fn advance(&mut self, mut len: usize) {
        self.sent |= len > 0;
        while let Some(first) = self.queue.front_mut() {
            let here = len.min(first.len());
            first.advance(here);
            len -= here;
            if !first.is_empty() {
                break;
            }
            self.queue.pop_front();
        }
    }
}
