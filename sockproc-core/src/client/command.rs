//! What to run, as `tokio::process::Command` says it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use bytes::Bytes;

use super::drive;
use crate::connection::{Body, Connection, Discard, Output, Stdin};
use crate::proto::{Argv, ExitStatus, Request};
use crate::{Address, Error};

/// A builder of one run.
///
/// The server is the one given by [`server`](Self::server), else the one that `$SOCKPROC_SOCKET`
/// names. The command sees the server's environment and working directory, not the caller's.
#[derive(Debug)]
pub struct Command {
    /// `None` if the first argument is the program.
    line: Option<Bytes>,
    arguments: Vec<OsString>,
    server: Option<Address>,
    stdin: Stdin,
    timeout: Option<Duration>,
    max_output: u64,
}

impl Command {
    /// Runs `program` with exactly the arguments that [`arg`](Self::arg) adds.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self::with(None).arg(program)
    }

    /// Runs `line` by `/bin/sh -c`. What [`arg`](Self::arg) adds is `$1`, `$2` … to the line: words
    /// from strangers belong there, not into the line.
    pub fn shell(line: impl Into<Bytes>) -> Self {
        Self::with(Some(line.into()))
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(self, arguments: impl IntoIterator<Item = A>) -> Self {
        arguments.into_iter().fold(self, Self::arg)
    }

    /// Runs on the server at `address`.
    #[must_use]
    pub fn server(mut self, address: Address) -> Self {
        self.server = Some(address);
        self
    }

    /// Gives the command this to read; without it its stdin is at end of file.
    #[must_use]
    pub fn stdin(mut self, stdin: impl Into<Stdin>) -> Self {
        self.stdin = stdin.into();
        self
    }

    /// Gives the run up after `timeout`, connecting included; without it a run may take for ever.
    ///
    /// The classic protocol does not end the command: the server's options say what becomes of it.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Takes at most `limit` bytes of output, both streams together; without it there is no limit.
    #[must_use]
    pub fn max_output(mut self, limit: u64) -> Self {
        self.max_output = limit;
        self
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
    pub async fn output(self) -> Result<Output, Error> {
        self.run().await
    }

    /// Runs the command, forgets what it writes and returns how it ended.
    ///
    /// # Errors
    /// As [`output`](Self::output).
    ///
    /// # Cancel safety
    /// As [`output`](Self::output).
    pub async fn status(self) -> Result<ExitStatus, Error> {
        Ok(self.run::<Discard>().await?.status)
    }

    fn with(line: Option<Bytes>) -> Self {
        Self {
            line,
            arguments: Vec::new(),
            server: None,
            stdin: Stdin::empty(),
            timeout: None,
            max_output: u64::MAX,
        }
    }

    async fn run<B: Body>(self) -> Result<Output<B>, Error> {
        let request = self.request()?;
        let server = Address::or_from_env(self.server)?;
        let run = Connection::new(server, request, self.stdin)?;
        drive(run.max_output(self.max_output), self.timeout).await
    }

    fn request(&self) -> Result<Request, Error> {
        let words = self.arguments.iter();
        let words = words.map(|word| Bytes::copy_from_slice(word.as_bytes()));
        Ok(match &self.line {
            Some(line) if self.arguments.is_empty() => Request::line(line.clone()),
            Some(line) => {
                let shell = [SHELL, Bytes::from("-c"), line.clone(), SHELL];
                Request::argv(Argv::new(shell.into_iter().chain(words))?)
            }
            None => Request::argv(Argv::new(words)?),
        })
    }
}

const SHELL: Bytes = Bytes::from_static(b"/bin/sh");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Invocation;

    fn invoked(command: &Command) -> Invocation {
        command.request().unwrap().invocation
    }

    fn argv<const N: usize>(words: [&'static str; N]) -> Invocation {
        Invocation::Argv(Argv::new(words).unwrap())
    }

    #[test]
    fn words_reach_the_program_and_the_shell_as_they_are() {
        let sort = invoked(&Command::new("sort").arg("-n").args(["a b", "$c"]));
        assert_eq!(sort, argv(["sort", "-n", "a b", "$c"]));
        let line = Invocation::Line("echo $HOME".into());
        assert_eq!(invoked(&Command::shell("echo $HOME")), line);
        assert_eq!(
            invoked(&Command::shell("grep -c \"$1\"").arg("it's")),
            argv(["/bin/sh", "-c", "grep -c \"$1\"", "/bin/sh", "it's"])
        );
    }

    #[test]
    fn a_run_can_be_moved_to_another_thread() {
        fn moves<T: Send>(_: T) {}
        moves(Command::new("true").output());
        moves(Command::new("true").status());
    }
}
