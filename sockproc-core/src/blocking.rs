//! Runs commands from ordinary, blocking code: poll(2) around a [`Connection`], no runtime.
//!
//! ```no_run
//! use sockproc_core::blocking::Client;
//!
//! let client = Client::new("/run/sockproc.sock".parse()?);
//! let output = client.run("tr a-z A-Z", "hello")?;
//! assert!(output.status.success());
//! assert_eq!(output.stdout, b"HELLO");
//! # Ok::<(), sockproc_core::Error>(())
//! ```

use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::connection::{Body, Connection, Interest, Output, Stdin, Step};
use crate::proto::{Argv, Request};
use crate::{Address, Error};

/// Runs commands on one server; it may be shared between threads, and each run is independent.
#[derive(Debug, Clone)]
pub struct Client {
    address: Address,
    timeout: Option<Duration>,
    max_output: u64,
}

impl Client {
    /// A client of the server at `address`; connecting is left to each run.
    #[must_use]
    pub fn new(address: Address) -> Self {
        Self {
            address,
            timeout: None,
            max_output: u64::MAX,
        }
    }

    /// A client of the server that `$SOCKPROC_SOCKET` names.
    ///
    /// # Errors
    /// [`Error::NoServer`] if it names none, [`Error::Address`] if it is no address.
    pub fn from_env() -> Result<Self, Error> {
        Address::or_from_env(None).map(Self::new)
    }

    /// Gives a run up after `timeout`, connecting included; without it a run may take for ever.
    ///
    /// The classic protocol does not end the command: the server's options say what becomes of it.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Takes at most `limit` bytes of output a run, both streams together; without it there is no
    /// limit.
    #[must_use]
    pub fn max_output(mut self, limit: u64) -> Self {
        self.max_output = limit;
        self
    }

    /// Runs `command` by `/bin/sh -c`, and returns when it has ended.
    ///
    /// # Errors
    /// There is no result; [`Error::may_have_run`] says whether the command may have run.
    pub fn run(
        &self,
        command: impl Into<Request>,
        stdin: impl Into<Stdin>,
    ) -> Result<Output, Error> {
        let run = Connection::new(self.address.clone(), command, stdin)?;
        drive(run.max_output(self.max_output), self.timeout)
    }

    /// Runs the program `argv[0]` with exactly these words, and returns when it has ended.
    ///
    /// # Errors
    /// As [`run`](Self::run), and [`Error::Argv`] for words that no program can be given.
    pub fn run_argv<W: Into<Bytes>>(
        &self,
        argv: impl IntoIterator<Item = W>,
        stdin: impl Into<Stdin>,
    ) -> Result<Output, Error> {
        self.run(Request::argv(Argv::new(argv)?), stdin)
    }
}

/// Drives `run` to its end, which may take `timeout` from now.
///
/// # Errors
/// What the run failed of, or [`Error::Timeout`].
pub fn drive<B: Body>(
    mut run: Connection<B>,
    timeout: Option<Duration>,
) -> Result<Output<B>, Error> {
    let deadline = Deadline::new(timeout);
    let mut ready = Interest::default();
    loop {
        match run.on_ready(ready)? {
            Step::Done(output) => return Ok(output),
            Step::Wait | Step::Yield => ready = deadline.wait(&run)?,
            Step::Retry(delay) => {
                thread::sleep(deadline.check(&run)?.map_or(delay, |left| left.min(delay)))
            }
        }
    }
}

struct Deadline {
    timeout: Duration,
    /// `None` if it is never.
    at: Option<Instant>,
}

impl Deadline {
    fn new(timeout: Option<Duration>) -> Self {
        let timeout = timeout.unwrap_or(Duration::MAX);
        Self {
            timeout,
            at: Instant::now().checked_add(timeout),
        }
    }

    /// How much time is left, if there is an end to it.
    fn check<B: Body>(&self, run: &Connection<B>) -> Result<Option<Duration>, Error> {
        let Some(at) = self.at else { return Ok(None) };
        match at.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => Ok(Some(left)),
            _ => Err(run.timed_out(self.timeout)),
        }
    }

    /// Waits until `run` is ready for something.
    fn wait<B: Body>(&self, run: &Connection<B>) -> Result<Interest, Error> {
        let Interest { readable, writable } = run.interest();
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, readable);
        flags.set(PollFlags::OUT, writable);
        loop {
            let left = self.check(run)?.map(timespec);
            let mut fds = [PollFd::new(run, flags)];
            match poll(&mut fds, left.as_ref()) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => {
                    let found = fds[0].revents();
                    let gone = PollFlags::HUP | PollFlags::ERR;
                    return Ok(Interest {
                        readable: found.intersects(PollFlags::IN | gone),
                        writable: found.intersects(PollFlags::OUT | gone),
                    });
                }
                Err(error) => return Err(Error::Wait(error.into())),
            }
        }
    }
}

/// A duration that is past the kernel's range is cut: the loop above asks again.
fn timespec(left: Duration) -> Timespec {
    let longest = Duration::from_secs(i32::MAX as u64);
    let left = left.min(longest);
    Timespec {
        tv_sec: left.as_secs() as _,
        tv_nsec: left.subsec_nanos().into(),
    }
}
