//! Runs commands from tokio, by the names of `tokio::process`.
//!
//! The differences stand in [one table](crate::command).
//!
//! ```no_run
//! use sockproc_core::client::Command;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), sockproc_core::Error> {
//! let output = Command::new("sort").arg("-n").stdin("2\n1\n").output().await?;
//! assert_eq!(output.stdout, b"1\n2\n");
//! # Ok(())
//! # }
//! ```
//!
//! A spawned command has tokio's own pipes:
//!
//! ```no_run
//! use sockproc_core::Stdio;
//! use sockproc_core::client::Command;
//! use tokio::io::AsyncWriteExt;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut sort = Command::new("sort");
//! let mut child = sort.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().await?;
//! let mut stdin = child.stdin.take().ok_or("no pipe")?;
//! stdin.write_all(b"2\n1\n").await?;
//! drop(stdin);
//! assert_eq!(child.wait_with_output().await?.stdout, b"1\n2\n");
//! # Ok(())
//! # }
//! ```

mod child;
mod drive;

use crate::connection::Forgotten;
use crate::proto::{Argv, ExitStatus, Request};
use crate::{Error, Output, Stdin, command};

pub use child::Child;
pub use drive::drive;

/// A builder of one run; `output`, `status` and `spawn` run it. See [`command`] for all its methods.
pub type Command = command::Command<Tokio>;

/// Runs commands on one server.
pub type Client = command::Client<Tokio>;

/// Who waits: tokio's reactor.
#[derive(Debug)]
pub enum Tokio {}

impl Command {
    /// Starts the command, and returns when the server has started it. What was not said of its streams
    /// is this process's own: they are handed over, as pipes are.
    ///
    /// # Errors
    /// It was not started, or the connection was lost; [`Error::may_have_run`] says which.
    /// [`Error::Unsupported`] for a server on TCP, or one that speaks only the classic protocol: no
    /// descriptor can be handed to those.
    ///
    /// # Cancel safety
    /// Dropping the future ends the run, as dropping the [`Child`] does.
    pub fn spawn(&mut self) -> impl Future<Output = Result<Child, Error>> + Send + use<> {
        let begun = self.begin_spawn();
        async { Child::start(begun?).await }
    }

    /// Runs the command and returns how it ended and what it wrote.
    ///
    /// # Errors
    /// There is no result; [`Error::may_have_run`] says whether the command may have run.
    ///
    /// # Cancel safety
    /// Dropping the future gives the run up: the server sees at once that this client has gone. The
    /// classic protocol does not end a command whose whole request was sent: the server's options
    /// say what becomes of it.
    pub fn output(&mut self) -> impl Future<Output = Result<Output, Error>> + Send + use<> {
        let run = self.collect();
        async {
            let (run, timeout) = run?;
            drive(run, timeout).await
        }
    }

    /// Runs the command, forgets what it writes and returns how it ended.
    ///
    /// # Errors
    /// As [`output`](Self::output).
    ///
    /// # Cancel safety
    /// As [`output`](Self::output).
    pub fn status(&mut self) -> impl Future<Output = Result<ExitStatus, Error>> + Send + use<> {
        let run = self.collect::<Forgotten>();
        async {
            let (run, timeout) = run?;
            Ok(drive(run, timeout).await?.status)
        }
    }
}

impl Client {
    /// Runs `command` by `/bin/sh -c`, and returns when it has ended.
    ///
    /// # Errors
    /// There is no result; [`Error::may_have_run`] says whether the command may have run.
    ///
    /// # Cancel safety
    /// As [`Command::output`].
    pub async fn run(
        &self,
        command: impl Into<Request>,
        stdin: impl Into<Stdin>,
    ) -> Result<Output, Error> {
        let (run, timeout) = self.collect(command.into(), stdin.into())?;
        drive(run, timeout).await
    }

    /// Runs the program `argv[0]` with exactly these words, and returns when it has ended.
    ///
    /// # Errors
    /// As [`run`](Self::run), and [`Error::Argv`] for words that no program can be given.
    ///
    /// # Cancel safety
    /// As [`run`](Self::run).
    pub async fn run_argv<W: Into<bytes::Bytes>>(
        &self,
        argv: impl IntoIterator<Item = W>,
        stdin: impl Into<Stdin>,
    ) -> Result<Output, Error> {
        self.run(Request::argv(Argv::new(argv)?), stdin).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_can_be_moved_to_another_thread() {
        fn moves<T: Send + 'static>(_: T) {}
        moves(Command::new("true").output());
        moves(Command::new("true").status());
    }
}
