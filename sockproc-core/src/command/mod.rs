//! What to run and how long, as data: the builders that [`client`](crate::client) and
//! [`blocking`](crate::blocking) share.
//!
//! They read like `tokio::process` and `std::process`. These are the differences:
//!
//! | | there | here |
//! |---|---|---|
//! | the parent of a command | this process | the server: `wait(2)`, `getppid(2)` and signals by process id do not work on it |
//! | directory, environment, user, limits | this process's | the server's, but for what is said otherwise |
//! | a process id ([`Child::id`](crate::client::Child::id)) | may be signalled while the child is not reaped | as the server sees it, only to be read: use `signal` |
//! | a dropped child | goes on (tokio: unless `kill_on_drop`) | is ended with its whole tree, unless [`on_disconnect`](Command::on_disconnect) says otherwise |
//! | `kill`, `start_kill` | SIGKILL to the child | SIGKILL to its whole process group; `cancel` ends the whole tree, SIGTERM first |
//! | `kill` of `blocking` | does not wait | waits, as tokio's does; `start_kill` does not |
//! | the process group | this process's | its own |
//! | `spawn` | always possible | only over a unix socket, on a server that speaks the native protocol |
//! | `output`, `status` | always possible | on every server |
//! | stdin of `output` and `status` | `output`: nothing, `status`: this process's | nothing, or [bytes](Stdio) |
//! | output of `status` | this process's | thrown away |
//! | `wait_with_output`, pipes that others still hold | waits for their end | reads until 100 ms of silence past the exit, 1 s at most |
//! | `pre_exec`, `as_raw`, `groups` | there | not there |
//! | exit status | `std::process::ExitStatus` | [`ExitStatus`](crate::ExitStatus), which may be unknown and is then no success |
//! | a time limit, a cap on output | not there | [`timeout`](Command::timeout), [`idle_timeout`](Command::idle_timeout), [`max_output`](Command::max_output) |

mod client;
mod environment;
mod limits;
mod spawned;
mod stdio;
mod streams;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::marker::PhantomData;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use environment::Changes;
use streams::{Opened, Streams, Use};

use crate::connection::{Body, Collected, Connection, Destination, Plan, Protocol};
use crate::proto::{Argv, Invocation, Request};
use crate::{Address, Error};

pub use client::Client;
pub(crate) use spawned::{KILL, LINGER, Pipes, Run, SILENCE, Spawned};
pub use stdio::Stdio;

/// A builder of one run, with the methods of `std::process::Command`.
///
/// The server is the one given by [`server`](Self::server), else the one that `$SOCKPROC_SOCKET`
/// names, else a [private helper](crate::embedded) of this process. A helper's command has this process's
/// environment and working directory; a server's has the server's, but for what is said otherwise here.
///
/// What the server's protocol cannot carry is an [`Error::Unsupported`] that names it: the classic
/// protocol carries a line or words, stdin, [`timeout`](Self::timeout) and
/// [`max_output`](Self::max_output).
pub struct Command<D> {
    /// `None` if the first argument is the program.
    line: Option<Bytes>,
    arguments: Vec<OsString>,
    server: Option<Address>,
    protocol: Protocol,
    streams: Streams,
    environment: Changes,
    timeout: Option<Duration>,
    /// Everything else that a run is asked for; its invocation, streams and environment are not used.
    settings: Request,
    driver: PhantomData<fn() -> D>,
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

    /// Asks by this protocol; without it [`Protocol::Auto`] finds one.
    pub fn protocol(&mut self, protocol: Protocol) -> &mut Self {
        self.protocol = protocol;
        self
    }

    /// Shows the server this token, where it wants one: what its `--token-file` holds. Without it the
    /// server that `$SOCKPROC_SOCKET` names is shown what is in the file that `$SOCKPROC_TOKEN_FILE`
    /// names.
    pub fn token(&mut self, token: impl Into<Bytes>) -> &mut Self {
        self.settings.token = Some(token.into());
        self
    }

    /// Runs the command in this directory, which is looked up by the server.
    pub fn current_dir(&mut self, directory: impl AsRef<Path>) -> &mut Self {
        let bytes = directory.as_ref().as_os_str().as_bytes();
        self.settings.cwd = Some(Bytes::copy_from_slice(bytes));
        self
    }

    /// Sets a variable in the command's environment.
    pub fn env(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        self.environment.set(name.as_ref(), value.as_ref());
        self
    }

    /// Sets variables in the command's environment.
    pub fn envs<N: AsRef<OsStr>, V: AsRef<OsStr>>(
        &mut self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> &mut Self {
        for (name, value) in variables {
            self.env(name, value);
        }
        self
    }

    /// Takes a variable of the server's environment away.
    pub fn env_remove(&mut self, name: impl AsRef<OsStr>) -> &mut Self {
        self.environment.unset(name.as_ref());
        self
    }

    /// Takes the whole of the server's environment away, and all that was set here before.
    pub fn env_clear(&mut self) -> &mut Self {
        self.environment.clear();
        self
    }

    /// What the command reads. Without it `output` and `status` let it find end of file, `spawn` lets it
    /// read this process's own stdin.
    ///
    /// Bytes are kept for further runs of this builder; a [`Stdin`](crate::Stdin) that reads is used up
    /// by the first.
    pub fn stdin(&mut self, stdin: impl Into<Stdio>) -> &mut Self {
        self.streams.stdin = Some(stdin.into());
        self
    }

    /// Where the command writes. Without it `output` collects it, `spawn` lets it write to this
    /// process's own stdout.
    pub fn stdout(&mut self, stdout: impl Into<Stdio>) -> &mut Self {
        self.streams.stdout = Some(stdout.into());
        self
    }

    /// Where the command writes its messages; else as [`stdout`](Self::stdout).
    pub fn stderr(&mut self, stderr: impl Into<Stdio>) -> &mut Self {
        self.streams.stderr = Some(stderr.into());
        self
    }

    fn with(line: Option<Bytes>, arguments: Vec<OsString>) -> Self {
        Self {
            line,
            arguments,
            server: None,
            protocol: Protocol::Auto,
            streams: Streams::default(),
            environment: Changes::default(),
            timeout: None,
            settings: Request::line(""),
            driver: PhantomData,
        }
    }

    /// The connection of a run whose output it collects, and how long it may take.
    pub(crate) fn collect<B: Body>(
        &mut self,
    ) -> Result<(Connection<Collected<B>>, Option<Duration>), Error> {
        let (run, _) = self.begin(Use::Collect)?;
        Ok((run, self.timeout))
    }

    /// A run whose streams the caller has.
    pub(crate) fn begin_spawn(&mut self) -> Result<(Spawned, Pipes), Error> {
        let (run, ours) = self.begin(Use::Spawn)?;
        Ok((Spawned::new(run, self.timeout), ours))
    }

    fn begin<B: Body>(&mut self, used: Use) -> Result<(Connection<Collected<B>>, Pipes), Error> {
        let mut request = self.request()?;
        let server = Destination::or_default(self.server.clone())?;
        let Opened {
            data,
            descriptors,
            ours,
        } = self.streams.open(used, &mut request)?;
        let plan = Plan::new(request, self.protocol);
        Ok((Connection::begin(server, plan, data, descriptors)?, ours))
    }

    fn request(&self) -> Result<Request, Error> {
        let mut request = self.settings.clone();
        request.environment = self.environment.to_request();
        let words = self.arguments.iter();
        let words = words.map(|word| Bytes::copy_from_slice(word.as_bytes()));
        request.invocation = match &self.line {
            Some(line) if self.arguments.is_empty() => Invocation::Line(line.clone()),
            Some(line) => {
                let shell = [SHELL, Bytes::from("-c"), line.clone(), SHELL];
                Invocation::Argv(Argv::new(shell.into_iter().chain(words))?)
            }
            None => Invocation::Argv(Argv::new(words)?),
        };
        Ok(request)
    }
}

impl<D> fmt::Debug for Command<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command")
            .field("line", &self.line)
            .field("arguments", &self.arguments)
            .field("server", &self.server)
            .field("protocol", &self.protocol)
            .field("streams", &self.streams)
            .field("environment", &self.environment)
            .field("limits", &self.settings.limits)
            .finish_non_exhaustive()
    }
}

const SHELL: Bytes = Bytes::from_static(b"/bin/sh");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocking::Command;

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

    #[test]
    fn the_last_word_on_a_variable_counts() {
        let mut command = Command::new("env");
        command
            .env("A", "1")
            .env("B", "2")
            .env_remove("A")
            .env_remove("C");
        let environment = command.request().unwrap().environment;
        assert_eq!(environment.unset, ["A", "C"]);
        assert_eq!(environment.set, ["B=2"]);
        command.env_clear().env_remove("B").env("D", "=4");
        let environment = command.request().unwrap().environment;
        assert!(environment.is_cleared && environment.unset.is_empty());
        assert_eq!(environment.set, ["D==4"]);
    }
}
