//! What a driver asks of a run, and does to it, while it goes on.

use std::time::Duration;

use bytes::Bytes;

use super::session::Session;
use super::{Body, Collected, Connection, Receiver};
use crate::Error;
use crate::proto::{SignalTo, Stream};

impl<R: Receiver> Connection<R> {
    /// Whether this process made the connection; if not, it is a fork, and the run is its parent's.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.owner == std::process::id()
    }

    /// Whether any byte of the request was sent: if not, the command has not run.
    #[must_use]
    pub fn sent(&self) -> bool {
        self.outgoing.sent()
    }

    /// The error of a driver that stops waiting after `timeout`.
    #[must_use]
    pub fn timed_out(&self, timeout: Duration) -> Error {
        Error::Timeout {
            timeout,
            sent: self.sent(),
            stdout: self.receiver.so_far(Stream::Stdout).to_vec(),
            stderr: self.receiver.so_far(Stream::Stderr).to_vec(),
        }
    }

    /// The leader's process id as the server sees it, once the server has said that it runs. A classic
    /// server does not.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// Whether the classic protocol is spoken, as far as is known: nothing is told then before the end.
    #[must_use]
    pub fn is_classic(&self) -> bool {
        matches!(self.session, Session::Classic { .. })
    }

    /// Whether the server itself ends the run when its time is over.
    pub(crate) fn server_keeps_time(&self) -> bool {
        self.pid.is_some() && self.plan.request.limits.timeout.is_some()
    }

    /// How long the server waits between SIGTERM and SIGKILL.
    pub(crate) fn grace(&self) -> Duration {
        let grace = self.plan.request.limits.grace;
        grace.map_or(DEFAULT_GRACE, |grace| Duration::from_millis(grace.get()))
    }

    /// Sends the command a signal; [`on_ready`](Self::on_ready) moves it.
    ///
    /// # Errors
    /// [`Error::Unsupported`] on the classic protocol, [`Error::Request`] for a number that is no
    /// signal's, and once the run is over.
    pub fn signal(&mut self, number: u8, to: SignalTo) -> Result<(), Error> {
        let frame = self.session.send_signal(number, to)?;
        self.push_control(frame);
        Ok(())
    }

    /// Has the server end the command with its whole tree; [`on_ready`](Self::on_ready) moves that, and
    /// goes on to the end of the run.
    ///
    /// # Errors
    /// [`Error::Unsupported`] on the classic protocol, [`Error::Request`] once the run is over.
    pub fn cancel(&mut self) -> Result<(), Error> {
        let frame = self.session.send_cancel()?;
        self.push_control(frame);
        Ok(())
    }

    /// Before the server has answered, the request may still be held back or go to another one, and all
    /// that is sent is the request.
    fn push_control(&mut self, frame: Bytes) {
        match self.session {
            Session::Opening(_) => self.early.push(frame),
            _ => self.outgoing.push(frame),
        }
    }

    /// Where what the server says goes.
    pub fn receiver_mut(&mut self) -> &mut R {
        &mut self.receiver
    }

    /// Whether a streamed stdin may be given more by [`push_stdin`](Self::push_stdin).
    #[must_use]
    pub fn wants_stdin(&self) -> bool {
        self.link.is_connected() && self.outgoing.wants_stdin(&self.session)
    }

    /// Gives a streamed stdin its next bytes, or, if there are none, ends it.
    pub fn push_stdin(&mut self, data: Bytes) {
        self.outgoing.push_stdin(data);
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

/// What servers wait unless they are told.
const DEFAULT_GRACE: Duration = Duration::from_secs(2);
