//! What a run still has to send: a queue of buffers, which stdin fills as far as the session allows.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;

use bytes::{Buf, Bytes};

use super::session::{Session, StdinEnd};
use super::socket::{MAX_PARTS, Socket};
use super::{MAX_MOVED, Stopped};
use crate::{Error, Stdin};

#[derive(Debug)]
pub(super) struct Outgoing {
    queue: VecDeque<Bytes>,
    /// Bytes at the front of the queue that are no part of a request: the opening.
    uncounted: usize,
    /// For the command; kept until it has been started or refused.
    descriptors: Vec<OwnedFd>,
    /// Whether the next bytes that are sent are the first of the request that names the descriptors.
    descriptors_are_due: bool,
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
    /// `has_stdin` says whether the command reads any of `stdin`.
    pub(super) fn new(stdin: Stdin, has_stdin: bool, descriptors: Vec<OwnedFd>) -> Self {
        Self {
            queue: VecDeque::new(),
            uncounted: 0,
            descriptors_are_due: !descriptors.is_empty(),
            descriptors,
            stdin,
            stdin_state: match has_stdin {
                true => StdinState::Open,
                false => StdinState::Ended,
            },
            sent: false,
            failure: None,
        }
    }

    /// Bytes that ask for nothing to be run.
    pub(super) fn push_opening(&mut self, opening: Bytes) {
        self.uncounted += opening.len();
        self.queue.push_back(opening);
    }

    /// Bytes that are sent in their turn.
    pub(super) fn push(&mut self, bytes: Bytes) {
        if self.failure.is_none() && !bytes.is_empty() {
            self.queue.push_back(bytes);
        }
    }

    /// Begins anew on another connection: nothing that was sent has been run.
    pub(super) fn restart(&mut self) {
        self.queue.clear();
        self.uncounted = 0;
        self.descriptors_are_due = !self.descriptors.is_empty();
        self.sent = false;
        self.failure = None;
    }

    /// Sends until the socket takes no more, nothing is left, or others want their turn.
    ///
    /// A peer that takes no more for good is no failure yet: it may have answered, because the command
    /// did not want all of its stdin or the server did not want the request.
    pub(super) fn send(
        &mut self,
        socket: &Socket,
        session: &mut Session,
    ) -> Result<Stopped, Error> {
        let mut budget = MAX_MOVED;
        loop {
            self.refill(session)?;
            if self.queue.is_empty() {
                self.half_close(socket);
                return Ok(Stopped::Blocked);
            }
            if budget == 0 {
                return Ok(Stopped::AtLimit);
            }
            match socket.send(&self.next_parts(budget), self.due_descriptors()) {
                Ok(len) => {
                    self.advance(len);
                    budget = budget.saturating_sub(len);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Stopped::Blocked);
                }
                Err(error) => {
                    self.queue.clear();
                    // Before the server has answered the opening, no stdin was touched.
                    if session.takes_stdin_end() {
                        self.stop_stdin();
                    }
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

    /// The command reads no more.
    pub(super) fn stop_stdin(&mut self) {
        self.stdin = Stdin::empty();
        self.stdin_state = StdinState::Ended;
    }

    /// The command has its descriptors, or will not get them.
    pub(super) fn drop_descriptors(&mut self) {
        self.descriptors.clear();
    }

    /// Whether any byte of the request was sent.
    pub(super) fn sent(&self) -> bool {
        self.sent
    }

    /// Whether stdin, or its end, may go into the queue.
    fn has_stdin(&self, session: &Session) -> bool {
        self.stdin_state == StdinState::Open
            && match self.stdin.is_empty() {
                true => !self.stdin.is_streamed() && session.takes_stdin_end(),
                false => session.stdin_room() > 0,
            }
    }

    /// Keeps one piece of stdin in the queue, behind what is there.
    fn refill(&mut self, session: &mut Session) -> Result<(), Error> {
        while self.queue.len() < MAX_PARTS - 1 && self.has_stdin(session) {
            let sent = self.sent;
            let room = session.stdin_room();
            let data = self.stdin.next_chunk(room);
            let data = data.map_err(|source| Error::Stdin { sent, source })?;
            if !data.is_empty() {
                let [header, data] = session.send_stdin(data).map_err(Error::Request)?;
                self.push(header);
                self.push(data);
                continue;
            }
            self.stdin_state = StdinState::Ended;
            match session.end_stdin().map_err(Error::Request)? {
                StdinEnd::Counted => {}
                StdinEnd::HalfClose => self.stdin_state = StdinState::HalfCloseLeft,
                StdinEnd::Frame(frame) => self.push(frame),
            }
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
    fn next_parts(&self, mut budget: usize) -> [&[u8]; MAX_PARTS] {
        std::array::from_fn(|index| {
            let part = self.queue.get(index).map_or(&[][..], |bytes| &bytes[..]);
            let part = &part[..part.len().min(budget)];
            budget -= part.len();
            part
        })
    }

    fn due_descriptors(&self) -> &[OwnedFd] {
        match self.descriptors_are_due && self.uncounted == 0 {
            true => &self.descriptors,
            false => &[],
        }
    }

    fn advance(&mut self, mut len: usize) {
        let of_opening = len.min(self.uncounted);
        self.descriptors_are_due &= self.uncounted > 0;
        self.uncounted -= of_opening;
        self.sent |= len > of_opening;
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
