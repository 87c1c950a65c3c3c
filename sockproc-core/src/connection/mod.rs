//! One run on a server, driven by readiness: a non-blocking socket and a protocol session.
//!
//! A [`Connection`] never blocks, owns no timer and starts no thread. Whoever drives it (poll(2),
//! tokio, an event loop of another language) waits for what it asks for and calls
//! [`on_ready`](Connection::on_ready) until the run is [`Done`](Progress::Done):
//!
//! ```no_run
//! use sockproc_core::connection::{Connection, Deadline, Interest, Progress, wait};
//!
//! let server = "/run/sockproc.sock".parse()?;
//! let mut run: Connection = Connection::new(server, "tr a-z A-Z", "hello")?;
//! let mut ready = Interest::NONE; // nothing to wait for before the first call
//! let output = loop {
//!     match run.on_ready(ready)? {
//!         Progress::Done(output) => break output,
//!         Progress::Retry(delay) => std::thread::sleep(delay),
//!         Progress::Wait | Progress::Yield => {
//!             ready = wait(&run, run.interest(), Deadline::NEVER)?;
//!         }
//!     }
//! };
//! assert_eq!(output.stdout, b"HELLO");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod collect;
mod events;
mod link;
mod outgoing;
mod progress;
mod receiver;
mod session;
mod socket;
mod stream;
mod wait;

use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use bytes::Bytes;
use link::{Link, Reached};
use outgoing::Outgoing;
use session::Session;
use socket::Socket;

use crate::proto::{ProtocolError, Request, Stream, StreamMode};
use crate::{Address, Error, Stdin};

pub use collect::{Body, Collected, Forgotten, Output};
pub use events::Events;
pub use progress::{Interest, Progress};
pub use receiver::Receiver;
pub use stream::BlockingSocket;
pub use wait::{Deadline, wait, wait_for_any};

/// One run: its socket, what is still to be sent, and what has come.
///
/// What comes goes to an `R`: [`Collected`] output, or [`Events`]. A connection is good for one run.
///
/// Dropping it before the run is [`Done`](Progress::Done) gives the run up: the server sees at once that
/// this client has gone, even if a forked process holds a copy of the socket. In a forked child, where
/// the run is the parent's, dropping it does nothing but close the copy.
#[derive(Debug)]
pub struct Connection<R: Receiver = Collected> {
    link: Link,
    session: Session,
    outgoing: Outgoing,
    receiver: R,
    /// The process that made this connection.
    owner: u32,
}

/// How moving bytes one way ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moved {
    /// The socket takes or has no more now, or there is nothing left to move.
    UntilBlocked,
    /// [`MAX_MOVED`] bytes were moved.
    UpToLimit,
}

impl<R: Receiver> Connection<R> {
    /// A run of `request`, such as a line for the shell, on the server at `address`.
    ///
    /// The kernel is asked for a connection by the first call of [`on_ready`](Self::on_ready), not
    /// before.
    ///
    /// # Errors
    /// [`Error::Request`] if the protocol cannot carry `request`, [`Error::Connect`] if there can
    /// be no socket.
    pub fn new(
        address: Address,
        request: impl Into<Request>,
        stdin: impl Into<Stdin>,
    ) -> Result<Self, Error> {
        Self::begin(request.into(), stdin.into(), || Link::open(address))
    }

    /// A run on the server at the other end of a connected socket, such as one of a pair.
    ///
    /// # Errors
    /// [`Error::Request`] if the protocol cannot carry `request`, [`Error::Wait`] if the socket cannot
    /// be used without blocking.
    pub(crate) fn on_socket(
        socket: OwnedFd,
        request: Request,
        stdin: Stdin,
    ) -> Result<Self, Error> {
        Self::begin(request, stdin, || {
            let socket = Socket::from_connected(socket).map_err(Error::Wait)?;
            Ok(Link::connected(socket))
        })
    }

    fn begin(
        mut request: Request,
        stdin: Stdin,
        link: impl FnOnce() -> Result<Link, Error>,
    ) -> Result<Self, Error> {
        match stdin.is_streamed() {
            true => request.stdin = StreamMode::Piped,
            false => request = request.with_stdin(stdin.len()),
        }
        let (session, head) = Session::classic(&request).map_err(Error::Request)?;
        Ok(Self {
            link: link()?,
            session,
            outgoing: Outgoing::new(head, stdin),
            receiver: R::default(),
            owner: std::process::id(),
        })
    }

    /// Does what can be done without blocking: connects, sends, receives, at most 1 MiB each way.
    ///
    /// `ready` says what the driver found on the descriptor; saying too much costs a system call
    /// each, no more. The first call needs no readiness: [`Interest::NONE`].
    ///
    /// # Errors
    /// The run has failed: drop the connection.
    pub fn on_ready(&mut self, mut ready: Interest) -> Result<Progress<R::Outcome>, Error> {
        if !self.link.is_connected() {
            match self.link.connect(ready.writable)? {
                // A fresh connection takes bytes and has none to give.
                Reached::Server => ready = Interest::WRITABLE,
                Reached::Nothing => return Ok(Progress::Wait),
                Reached::Backlog(delay) => return Ok(Progress::Retry(delay)),
            }
        }
        let mut moved = Moved::UntilBlocked;
        if ready.writable {
            moved = self.outgoing.send(&self.link.socket, &mut self.session)?;
        }
        if ready.readable && self.receive()? == Moved::UpToLimit {
            moved = Moved::UpToLimit;
        }
        Ok(match moved {
            _ if self.session.is_over() => Progress::Done(self.receiver.finish()),
            Moved::UntilBlocked => Progress::Wait,
            Moved::UpToLimit => Progress::Yield,
        })
    }

    /// What to wait for; of no use after [`Progress::Retry`].
    #[must_use]
    pub fn interest(&self) -> Interest {
        let is_connected = self.link.is_connected();
        Interest {
            readable: is_connected,
            writable: !is_connected || self.outgoing.is_waiting(&self.session),
        }
    }

    /// Whether any byte of the request was sent: if not, the command has not run.
    #[must_use]
    pub fn sent(&self) -> bool {
        self.outgoing.sent()
    }

    /// The error of a driver that stops waiting after `timeout`.
    #[must_use]
    pub fn timed_out(&self, timeout: Duration) -> Error {
        let sent = self.sent();
        Error::Timeout { timeout, sent }
    }

    /// Where what the server says goes.
    pub fn receiver_mut(&mut self) -> &mut R {
        &mut self.receiver
    }

    /// Whether a streamed stdin may be given more by [`push_stdin`](Self::push_stdin).
    pub(crate) fn wants_stdin(&self) -> bool {
        self.link.is_connected() && self.outgoing.wants_stdin(&self.session)
    }

    /// Gives a streamed stdin its next bytes, or, if there are none, ends it.
    pub(crate) fn push_stdin(&mut self, data: Bytes) {
        self.outgoing.push_stdin(data);
    }

    /// Receives until the socket has no more, the answer is complete, or others want their turn.
    fn receive(&mut self) -> Result<Moved, Error> {
        let mut budget = MAX_MOVED as u64;
        loop {
            self.take_events()?;
            if self.session.is_over() {
                return Ok(Moved::UntilBlocked);
            }
            if budget == 0 {
                return Ok(Moved::UpToLimit);
            }
            match self.receive_some(budget) {
                Ok(0) => self.session.receive_eof(),
                Ok(len) => budget = budget.saturating_sub(len),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Moved::UntilBlocked);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.outgoing.disconnected(error)),
            }
        }
    }

    /// Receives some bytes, at most `limit` of them straight to where they belong; 0 is end of file.
    fn receive_some(&mut self, limit: u64) -> io::Result<u64> {
        let Some((stream, left)) = self.session.payload() else {
            let mut buf = [0; HEAD_LEN];
            let len = self.link.socket.reader().read(&mut buf)?;
            self.session.receive_data(&buf[..len]);
            return Ok(len as u64);
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

    fn take_events(&mut self) -> Result<(), Error> {
        loop {
            match self.session.next_event() {
                Ok(None) => return Ok(()),
                Ok(Some(event)) => self.receiver.receive(event)?,
                Err(ProtocolError::Truncated) => return Err(self.outgoing.cut_off()),
                Err(error) => return Err(Error::Protocol(error)),
            }
        }
    }
}

impl<B: Body> Connection<Collected<B>> {
    /// Takes at most `limit` bytes of output, both streams together; a run that wrote more fails
    /// with [`Error::OutputTooLarge`] as soon as its length is announced. Without it there is no
    /// limit.
    #[must_use]
    pub fn max_output(mut self, limit: u64) -> Self {
        self.receiver.set_limit(limit);
        self
    }

    /// What has come of a stream so far.
    #[must_use]
    pub fn body(&self, stream: Stream) -> &B {
        self.receiver.body(stream)
    }
}

/// The descriptor to wait on; the same from beginning to end.
impl<R: Receiver> AsFd for Connection<R> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.link.socket.as_fd()
    }
}

/// For event loops that take numbers.
impl<R: Receiver> AsRawFd for Connection<R> {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl<R: Receiver> Drop for Connection<R> {
    fn drop(&mut self) {
        let given_up = self.sent() && !self.session.is_over();
        if given_up && self.owner == std::process::id() {
            self.link.socket.abort();
        }
    }
}

/// The most bytes that one call moves one way, so that one run does not hold up an event loop.
const MAX_MOVED: usize = 1024 * 1024;

/// What is received at once where a line is expected; a short answer fits whole.
const HEAD_LEN: usize = 8 * 1024;

#[cfg(test)]
mod tests;
