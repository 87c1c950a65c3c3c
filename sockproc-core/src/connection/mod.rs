//! One run on a server, driven by readiness: a non-blocking socket and a protocol session.
//!
//! A [`Connection`] never blocks, owns no timer and starts no thread. Whoever drives it (poll(2),
//! tokio, an event loop of another language) waits for what it asks for and calls
//! [`on_ready`](Connection::on_ready) until the run is [`Done`](Step::Done):
//!
//! ```no_run
//! use rustix::event::{PollFd, PollFlags, poll};
//! use sockproc_core::connection::{Connection, Interest, Output, Stdin, Step};
//!
//! let server = "/run/sockproc.sock".parse()?;
//! let mut run: Connection = Connection::new(server, "tr a-z A-Z", "hello")?;
//! let mut ready = Interest::default(); // nothing to wait for before the first call
//! let output: Output = loop {
//!     match run.on_ready(ready)? {
//!         Step::Done(output) => break output,
//!         Step::Retry(delay) => std::thread::sleep(delay),
//!         Step::Wait | Step::Yield => {
//!             let Interest { readable, writable } = run.interest();
//!             let mut flags = PollFlags::empty();
//!             flags.set(PollFlags::IN, readable);
//!             flags.set(PollFlags::OUT, writable);
//!             poll(&mut [PollFd::new(&run, flags)], None)?;
//!             ready = Interest { readable, writable }; // asking for too much does no harm
//!         }
//!     }
//! };
//! assert_eq!(output.stdout, b"HELLO");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod body;
mod incoming;
mod outgoing;
mod session;
mod socket;
mod stdin;
mod step;

use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use incoming::Incoming;
use outgoing::Outgoing;
use session::Session;
use socket::{Connecting, Socket};

use crate::proto::{ClientEvent, ProtocolError, Request, Stream, classic};
use crate::{Address, Error};

pub use body::{Body, Discard};
pub use stdin::Stdin;
pub use step::{Interest, Output, Step};

/// One run: its socket, what is still to be sent, and what has come.
///
/// Its output goes into two `B`s, see [`Body`]. A connection is good for one run.
///
/// Dropping it before the run is [`Done`](Step::Done) gives the run up: the server sees at once that
/// this client has gone, even if a forked process holds a copy of the socket. In a forked child, where
/// the run is the parent's, dropping it does nothing but close the copy.
#[derive(Debug)]
pub struct Connection<B: Body = Vec<u8>> {
    address: Address,
    socket: Socket,
    phase: Phase,
    session: Session,
    outgoing: Outgoing,
    incoming: Incoming<B>,
    /// The process that made this connection.
    owner: u32,
}

#[derive(Debug)]
enum Phase {
    /// Not connected yet; if the backlog is full, the next attempt waits for so long.
    Unconnected {
        delay: Duration,
    },
    InProgress,
    Connected,
}

/// How moving bytes one way ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moved {
    /// The socket takes or has no more now, or there is nothing left to move.
    UntilBlocked,
    /// [`MAX_MOVED`] bytes were moved.
    UpToLimit,
}

impl<B: Body> Connection<B> {
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
        let stdin = stdin.into();
        let request = request.into().with_stdin(stdin.len());
        let mut session = Session::Classic(classic::ClientSession::new());
        let head = session.send_run(&request).map_err(Error::Request)?;
        let socket = match Socket::open(&address) {
            Ok(socket) => socket,
            Err(source) => return Err(Error::Connect { address, source }),
        };
        Ok(Self {
            address,
            socket,
            phase: Phase::Unconnected { delay: FIRST_RETRY },
            session,
            outgoing: Outgoing::new(head, stdin),
            incoming: Incoming::new(u64::MAX),
            owner: std::process::id(),
        })
    }

    /// Takes at most `limit` bytes of output, both streams together; a run that wrote more fails
    /// with [`Error::OutputTooLarge`] as soon as its length is announced. Without it there is no
    /// limit.
    #[must_use]
    pub fn max_output(mut self, limit: u64) -> Self {
        self.incoming.set_limit(limit);
        self
    }

    /// Does what can be done without blocking: connects, sends, receives, at most 1 MiB each way.
    ///
    /// `ready` says what the driver found on the descriptor; saying too much costs a system call
    /// each, no more. The first call needs no readiness: `Interest::default()`.
    ///
    /// # Errors
    /// The run has failed: drop the connection.
    pub fn on_ready(&mut self, mut ready: Interest) -> Result<Step<B>, Error> {
        if !matches!(self.phase, Phase::Connected) {
            if let Some(step) = self.connect(ready)? {
                return Ok(step);
            }
            // A fresh connection takes bytes and has none to give.
            ready = Interest {
                readable: false,
                writable: true,
            };
        }
        let mut moved = Moved::UntilBlocked;
        if ready.writable {
            moved = self.outgoing.send(&self.socket, &mut self.session)?;
        }
        if ready.readable && self.receive()? == Moved::UpToLimit {
            moved = Moved::UpToLimit;
        }
        Ok(match moved {
            _ if self.session.is_over() => Step::Done(self.incoming.take()),
            Moved::UntilBlocked => Step::Wait,
            Moved::UpToLimit => Step::Yield,
        })
    }

    /// What to wait for; of no use after [`Step::Retry`].
    #[must_use]
    pub fn interest(&self) -> Interest {
        let connected = matches!(self.phase, Phase::Connected);
        Interest {
            readable: connected,
            writable: !connected || !self.outgoing.is_empty(),
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

    /// What has come of a stream so far.
    #[must_use]
    pub fn body(&self, stream: Stream) -> &B {
        self.incoming.body(stream)
    }

    /// `None` once there is a connection, or what has to happen first.
    fn connect(&mut self, ready: Interest) -> Result<Option<Step<B>>, Error> {
        let result = match &mut self.phase {
            Phase::Connected => return Ok(None),
            Phase::InProgress if !ready.writable => return Ok(Some(Step::Wait)),
            Phase::InProgress => self.socket.connect_result(),
            Phase::Unconnected { delay } => match self.socket.connect(&self.address) {
                Ok(Connecting::Connected) => Ok(()),
                Ok(Connecting::InProgress) => {
                    self.phase = Phase::InProgress;
                    return Ok(Some(Step::Wait));
                }
                Ok(Connecting::BacklogFull) => {
                    let now = *delay;
                    *delay = (now * 2).min(LAST_RETRY);
                    return Ok(Some(Step::Retry(now)));
                }
                Err(error) => Err(error),
            },
        };
        result.map_err(|source| Error::Connect {
            address: self.address.clone(),
            source,
        })?;
        self.phase = Phase::Connected;
        Ok(None)
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

    /// Receives some bytes, at most `limit` of them straight into the body where they belong; 0 is
    /// end of file.
    fn receive_some(&mut self, limit: u64) -> io::Result<u64> {
        let Some((stream, left)) = self.session.payload() else {
            let mut buf = [0; HEAD_LEN];
            let len = self.socket.reader().read(&mut buf)?;
            self.session.receive_data(&buf[..len]);
            return Ok(len as u64);
        };
        let mut source = self.socket.reader().take(left.min(limit));
        let (len, result) = self.incoming.fill(stream, &mut source);
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
                Ok(Some(ClientEvent::Announced { stream, len })) => {
                    self.incoming.announce(stream, len)?;
                }
                Ok(Some(ClientEvent::Data { stream, data })) => {
                    self.incoming.keep(stream, &data)?;
                }
                Ok(Some(ClientEvent::Exited(exit))) => self.incoming.set_exit(exit),
                // A classic session tells no more than these.
                Ok(Some(_)) => {}
                Err(ProtocolError::Truncated) => return Err(self.outgoing.cut_off()),
                Err(error) => return Err(Error::Protocol(error)),
            }
        }
    }
}

/// The descriptor to wait on; the same from beginning to end.
impl<B: Body> AsFd for Connection<B> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// For event loops that take numbers.
impl<B: Body> AsRawFd for Connection<B> {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl<B: Body> Drop for Connection<B> {
    fn drop(&mut self) {
        let given_up = self.sent() && !self.session.is_over();
        if given_up && self.owner == std::process::id() {
            self.socket.abort();
        }
    }
}

/// The most bytes that one call moves one way, so that one run does not hold up an event loop.
const MAX_MOVED: usize = 1024 * 1024;

/// What is received at once where a line is expected; a short answer fits whole.
const HEAD_LEN: usize = 8 * 1024;

/// A full backlog is asked again after so long, then after twice that, …
const FIRST_RETRY: Duration = Duration::from_millis(1);

/// … up to so long.
const LAST_RETRY: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests;
