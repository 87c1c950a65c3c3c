//! What to run and how long, as data: the builders that [`client`](crate::client) and
//! [`blocking`](crate::blocking) share.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::marker::PhantomData;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use bytes::Bytes;

use crate::connection::{Body, Collected, Connection};
use crate::proto::{Argv, Request};
use crate::{Address, Error, Stdin};

/// A builder of one run, with the methods of `std::process::Command`.
///
/// The server is the one given by [`server`](Self::server), else the one that `$SOCKPROC_SOCKET`
/// names. The command sees the server's environment and working directory, not the caller's.
pub struct Command<D> {
    /// `None` if the first argument is the program.
    line: Option<Bytes>,
    arguments: Vec<OsString>,
    server: Option<Address>,
    stdin: Stdin,
    limits: Limits,
    driver: PhantomData<fn() -> D>,
}

/// Runs commands on one server; cheap to clone, may be shared between threads, and each run is
/// independent.
pub struct Client<D> {
    address: Address,
    limits: Limits,
    driver: PhantomData<fn() -> D>,
}

/// What ends a run from its client's side.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) timeout: Option<Duration>,
    max_output: u64,
}

impl<D> Command<D> {
    /// Runs `program` with exactly the arguments that [`arg`](Self::arg) adds.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self::with(None, vec![program.as_ref().to_owned()])
    }

    /// Runs `line` by `/bin/sh -c`. What [`arg`](Self::arg) adds is `$1`, `$2` … to the line: words
    /// from strangers belong there, not into the line.
    pub fn shell(line: impl Into<Bytes>) -> Self {
        Self::with(Some(line.into()), Vec::new())
    }

    /// Adds an argument.
    pub fn arg(&mut self, argument: impl AsRef<OsStr>) -> &mut Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args<A: AsRef<OsStr>>(&mut self, arguments: impl IntoIterator<Item = A>) -> &mut Self {
        let words = arguments.into_iter().map(|word| word.as_ref().to_owned());
        self.arguments.extend(words);
        self
    }

    /// Runs on the server at `address`.
    pub fn server(&mut self, address: Address) -> &mut Self {
        self.server = Some(address);
        self
    }

    /// What the command reads; without it its stdin is at end of file.
    ///
    /// Bytes are kept for further runs of this builder; a reader is used up by the first.
    pub fn stdin(&mut self, stdin: impl Into<Stdin>) -> &mut Self {
        self.stdin = stdin.into();
        self
    }

    /// Gives the run up after `timeout`, connecting included; without it a run may take for ever.
    ///
    /// The classic protocol does not end the command: the server's options say what becomes of it.
    pub fn timeout(&mut self, timeout: Duration) -> &mut Self {
        self.limits.timeout = Some(timeout);
        self
    }

    /// Takes at most `limit` bytes of output, both streams together; without it there is no limit.
    pub fn max_output(&mut self, limit: u64) -> &mut Self {
        self.limits.max_output = limit;
        self
    }

    fn with(line: Option<Bytes>, arguments: Vec<OsString>) -> Self {
        Self {
            line,
            arguments,
            server: None,
            stdin: Stdin::empty(),
            limits: Limits::NONE,
            driver: PhantomData,
        }
    }

    /// The connection of a run, and how long it may take.
    pub(crate) fn connection<B: Body>(
        &mut self,
    ) -> Result<(Connection<Collected<B>>, Option<Duration>), Error> {
        let request = self.request()?;
        let server = Address::or_from_env(self.server.clone())?;
        let run = Connection::new(server, request, self.stdin.for_a_run()?)?;
        Ok((run.max_output(self.limits.max_output), self.limits.timeout))
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

impl<D> Client<D> {
    /// A client of the server at `address`; connecting is left to each run.
    #[must_use]
    pub fn new(address: Address) -> Self {
        Self {
            address,
            limits: Limits::NONE,
            driver: PhantomData,
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
        self.limits.timeout = Some(timeout);
        self
    }

    /// Takes at most `limit` bytes of output a run, both streams together; without it there is no
    /// limit.
    #[must_use]
    pub fn max_output(mut self, limit: u64) -> Self {
        self.limits.max_output = limit;
        self
    }

    /// The connection of a run, and how long it may take.
    pub(crate) fn connection(
        &self,
        request: Request,
        stdin: Stdin,
    ) -> Result<(Connection, Option<Duration>), Error> {
        let run = Connection::new(self.address.clone(), request, stdin)?;
        Ok((run.max_output(self.limits.max_output), self.limits.timeout))
    }
}

impl Limits {
    const NONE: Self = Self {
        timeout: None,
        max_output: u64::MAX,
    };
}

impl<D> fmt::Debug for Command<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command")
            .field("line", &self.line)
            .field("arguments", &self.arguments)
            .field("server", &self.server)
            .field("stdin", &self.stdin)
            .field("limits", &self.limits)
            .finish()
    }
}

impl<D> fmt::Debug for Client<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("address", &self.address)
            .field("limits", &self.limits)
            .finish()
    }
}

impl<D> Clone for Client<D> {
    fn clone(&self) -> Self {
        Self {
            address: self.address.clone(),
            ..*self
        }
    }
}

const SHELL: Bytes = Bytes::from_static(b"/bin/sh");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocking::Command;
    use crate::proto::Invocation;

    fn invoked(command: &Command) -> Invocation {
        command.request().unwrap().invocation
    }

    fn argv<const N: usize>(words: [&'static str; N]) -> Invocation {
        Invocation::Argv(Argv::new(words).unwrap())
    }

    #[test]
    fn words_reach_the_program_and_the_shell_as_they_are() {
        let sort = invoked(Command::new("sort").arg("-n").args(["a b", "$c"]));
        assert_eq!(sort, argv(["sort", "-n", "a b", "$c"]));
        let line = Invocation::Line("echo $HOME".into());
        assert_eq!(invoked(&Command::shell("echo $HOME")), line);
        assert_eq!(
            invoked(Command::shell("grep -c \"$1\"").arg("it's")),
            argv(["/bin/sh", "-c", "grep -c \"$1\"", "/bin/sh", "it's"])
        );
    }
}
