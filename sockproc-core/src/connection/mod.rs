//! One run on a server, driven by readiness: a non-blocking socket and a protocol session.
//!
//! A [`Connection`] never blocks, owns no timer and starts no thread. Whoever drives it (poll(2),
//! tokio, an event loop of another language) waits for what it asks for and calls
//! [`on_ready`](Connection::on_ready) until the run is [`Done`](Progress::Done):
//!
//! ```no_run
//! use sockproc_core::Protocol;
//! use sockproc_core::connection::{Connection, Deadline, Interest, Progress, wait};
//!
//! let server: sockproc_core::Address = "/run/sockproc.sock".parse()?;
//! let mut run: Connection =
//!     Connection::with_protocol(Protocol::Auto, server, "tr a-z A-Z", "hello")?;
//! let mut ready = Interest::NONE; // nothing to wait for before the first call
//! let output = loop {
//!     match run.on_ready(ready)? {
//!         Progress::Done(output) => break output,
//!         Progress::Retry(delay) => std::thread::sleep(delay),
//!         Progress::Reconnect => ready = Interest::NONE, // on another descriptor
//!         Progress::Wait | Progress::Yield => {
//!             ready = wait(&run, run.interest(), Deadline::NEVER)?;
//!         }
//!     }
//! };
//! assert_eq!(output.stdout, b"HELLO");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod begin;
mod blocking_socket;
mod collect;
mod control;
mod destination;
mod embedded;
mod events;
mod incoming;
mod known;
mod link;
mod outgoing;
mod plan;
mod progress;
mod protocol;
mod receiver;
mod session;
mod socket;
mod time_limit;
mod wait;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use bytes::Bytes;
use link::{Link, Reached};
use outgoing::Outgoing;
use plan::no_native;
use session::Session;

use crate::Error;

pub use blocking_socket::BlockingSocket;
pub use collect::{Body, Collected, Forgotten, Output};
pub use destination::Destination;
pub use events::Events;
pub(crate) use plan::Plan;
pub use progress::{Interest, Progress};
pub use protocol::Protocol;
pub use receiver::Receiver;
pub(crate) use time_limit::TimeLimit;
pub(crate) use wait::wait_for_each;
pub use wait::{Deadline, wait};

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
    /// Signals, and what cancels the run, until the server has answered.
    early: Vec<Bytes>,
    receiver: R,
    plan: Box<Plan>,
    /// The next call begins anew on another connection.
    wants_reconnect: bool,
    /// The leader, once the server has started it.
    pid: Option<u32>,
    /// The process that made this connection.
    owner: u32,
    /// Whether a helper has failed it already.
    is_second_attempt: bool,
}

/// How moving bytes one way ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopped {
    /// The socket takes or has no more now, or there is nothing left to move.
    Blocked,
    /// [`MAX_MOVED`] bytes were moved.
    AtLimit,
}

impl<R: Receiver> Connection<R> {
    /// Does what can be done without blocking: connects, sends, receives, at most 1 MiB each way.
    ///
    /// `ready` says what the driver found on the descriptor; saying too much costs a system call
    /// each, no more. The first call needs no readiness: [`Interest::NONE`].
    ///
    /// # Errors
    /// The run has failed: drop the connection.
    pub fn on_ready(&mut self, ready: Interest) -> Result<Progress<R::Outcome>, Error> {
        match self.advance(ready) {
            Err(error) if self.is_unserved(&error) => self.leave_helper(error),
            progress => progress,
        }
    }

    fn advance(&mut self, mut ready: Interest) -> Result<Progress<R::Outcome>, Error> {
        if self.wants_reconnect {
            match self.link.helper() {
                Some(_) => self.begin_on_another_helper()?,
                None => self.link = self.link.anew().unwrap_or(Err(no_native()))?,
            }
            self.wants_reconnect = false;
        }
        if !self.link.is_connected() {
            match self.link.connect(ready.writable)? {
                // A fresh connection takes bytes, and nothing has come on it yet.
                Reached::Server => ready = Interest::WRITABLE,
                Reached::Nothing => return Ok(Progress::Wait),
                Reached::Backlog(delay) => return Ok(Progress::Retry(delay)),
            }
        }
        let mut moved = Stopped::Blocked;
        if ready.writable {
            moved = self.outgoing.send(&self.link.socket, &mut self.session)?;
        }
        if ready.readable && self.receive()? == Stopped::AtLimit {
            moved = Stopped::AtLimit;
        }
        Ok(match moved {
            _ if self.wants_reconnect => Progress::Reconnect,
            _ if self.session.is_over() => {
                Progress::Done(self.receiver.finish(&self.plan.request.limits)?)
            }
            Stopped::Blocked => Progress::Wait,
            Stopped::AtLimit => Progress::Yield,
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
        if given_up && self.is_ours() {
            self.link.socket.abort();
        }
    }
}

/// The most bytes that one call moves one way, so that one run does not hold up an event loop.
const MAX_MOVED: usize = 1024 * 1024;

#[cfg(test)]
mod tests;
