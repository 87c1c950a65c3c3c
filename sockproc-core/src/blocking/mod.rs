//! Runs commands from ordinary, blocking code, by the names of `std::process`; no runtime is needed.
//!
//! The differences stand in [one table](crate::command).
//!
//! ```no_run
//! use sockproc_core::blocking::Command;
//!
//! let output = Command::shell("tr a-z A-Z").stdin("hello").output()?;
//! assert!(output.status.success());
//! assert_eq!(output.stdout, b"HELLO");
//! # Ok::<(), sockproc_core::Error>(())
//! ```

mod child;
mod drive;

use bytes::Bytes;

use crate::connection::Forgotten;
use crate::proto::{Argv, ExitStatus, Request};
use crate::{Error, Output, Stdin, command};

pub use child::Child;
pub use drive::drive;

/// A builder of one run; `output`, `status` and `spawn` run it. See [`command`] for all its methods.
pub type Command = command::Command<Blocking>;

/// Runs commands on one server.
pub type Client = command::Client<Blocking>;

/// Who waits: the calling thread, in poll(2).
#[derive(Debug)]
pub enum Blocking {}

impl Command {
    /// Starts the command, and returns when the server has started it. What was not said of its streams
    /// is this process's own: they are handed over, as pipes are.
    ///
    /// # Errors
    /// It was not started, or the connection was lost; [`Error::may_have_run`] says which.
    /// [`Error::Unsupported`] for a server on TCP, or one that speaks only the classic protocol: no
    /// descriptor can be handed to those.
    pub fn spawn(&mut self) -> Result<Child, Error> {
        Child::start(self.begin_spawn()?)
    }

    /// Runs the command and returns how it ended and what it wrote.
    ///
    /// # Errors
    /// There is no result; [`Error::may_have_run`] says whether the command may have run.
    pub fn output(&mut self) -> Result<Output, Error> {
        let (run, timeout) = self.collect()?;
        drive(run, timeout)
    }

    /// Runs the command, forgets what it writes and returns how it ended.
    ///
    /// # Errors
    /// As [`output`](Self::output).
    pub fn status(&mut self) -> Result<ExitStatus, Error> {
        let (run, timeout) = self.collect::<Forgotten>()?;
        Ok(drive(run, timeout)?.status)
    }
}

impl Client {
    /// Runs `command` by `/bin/sh -c`, and returns when it has ended.
    ///
    /// # Errors
    /// There is no result; [`Error::may_have_run`] says whether the command may have run.
    pub fn run(
        &self,
        command: impl Into<Request>,
        stdin: impl Into<Stdin>,
    ) -> Result<Output, Error> {
        let (run, timeout) = self.collect(command.into(), stdin.into())?;
        drive(run, timeout)
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
