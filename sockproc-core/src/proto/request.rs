//! What a client asks a server to run, whatever the protocol that carries it.

use bytes::Bytes;

use super::{Argv, Invocation, Limits};

/// A command, what it gets from its client, and how long it may go on.
///
/// Each protocol carries what it can of this, and refuses the rest by name, see
/// [`ProtocolError::Unsupported`](super::ProtocolError::Unsupported).
///
/// ```
/// use sockproc_core::proto::{Argv, Request, StreamMode};
///
/// let mut request = Request::argv(Argv::new(["sort", "-n"])?);
/// request.cwd = Some("/var/log".into());
/// request.stderr = StreamMode::Null;
/// # Ok::<(), sockproc_core::proto::ArgvError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request {
    /// A line for the shell, or an argument vector.
    pub invocation: Invocation,
    /// What is executed in place of the first word of argv; several are tried in turn, as execvp(3)
    /// does with the directories of `PATH`. Empty: the first word itself.
    pub programs: Vec<Bytes>,
    /// The working directory; `None`: the server's.
    pub cwd: Option<Bytes>,
    /// What changes in the server's environment.
    pub environment: Environment,
    /// The command's file descriptor 0.
    pub stdin: StreamMode,
    /// How many bytes of stdin follow, where that is known before; only the classic protocol carries it.
    /// Only a stdin that is [`Piped`](StreamMode::Piped) has any.
    pub stdin_len: Option<u64>,
    /// The command's file descriptor 1.
    pub stdout: StreamMode,
    /// The command's file descriptor 2.
    pub stderr: StreamMode,
    /// The command's numbers for further descriptors that the client passes, in their order.
    pub fds: Vec<u32>,
    /// How long it may take and how much it may write.
    pub limits: Limits,
    /// What becomes of it when its client goes; `None`: as the server does by default.
    pub on_disconnect: Option<OnDisconnect>,
    /// Whether it leads a session of its own, without a controlling terminal.
    pub session: bool,
    /// The process group that it joins; 0: its own.
    pub process_group: u32,
    /// Whether its stdin becomes the controlling terminal of a session of its own.
    pub terminal: bool,
    /// Its file mode creation mask, umask(2); `None`: the server's.
    pub umask: Option<u32>,
    /// The user and groups that it runs as; `None`: the server's.
    pub identity: Identity,
    /// Signals that it ignores when it starts, by their numbers.
    pub ignored_signals: Vec<u32>,
    /// Whether the client wants the leader's pidfd.
    pub pidfd: bool,
    /// What proves to the server that the client may ask.
    pub token: Option<Bytes>,
}

/// Changes of an environment: cleared, then unset, then set, whatever their order on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Environment {
    /// Whether nothing of the server's environment stays.
    pub is_cleared: bool,
    /// Names of variables to take away.
    pub unset: Vec<Bytes>,
    /// `NAME=value` of variables to set.
    pub set: Vec<Bytes>,
}

/// What one of a command's three standard streams is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StreamMode {
    /// `/dev/null`.
    Null,
    /// A pipe of the server, which moves its bytes between the command and the client.
    Piped,
    /// A descriptor that the client passes; its bytes never pass the server.
    Descriptor,
    /// The same as stdout; only for stderr.
    Stdout,
    /// Not open at all.
    Closed,
}

/// What becomes of a command whose client has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OnDisconnect {
    /// It runs to its end: fire and forget.
    #[default]
    Finish,
    /// It is ended with its whole tree: SIGTERM, then SIGKILL.
    Kill,
}

/// The user and groups that a command runs as, by number.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Identity {
    /// The user.
    pub user: Option<u32>,
    /// The group.
    pub group: Option<u32>,
    /// All supplementary groups, in place of the server's.
    pub supplementary_groups: Option<Vec<u32>>,
}

impl Request {
    /// A request for `line`, to be handed to `/bin/sh -c`. Its stdin is `/dev/null`, its output is piped.
    pub fn line(line: impl Into<Bytes>) -> Self {
        Self::new(Invocation::Line(line.into()))
    }

    /// A request for `argv`. Its stdin is `/dev/null`, its output is piped.
    #[must_use]
    pub fn argv(argv: Argv) -> Self {
        Self::new(Invocation::Argv(argv))
    }

    /// The same with `len` bytes of stdin to follow.
    #[must_use]
    pub fn with_stdin(mut self, len: u64) -> Self {
        self.stdin = StreamMode::Piped;
        self.stdin_len = Some(len);
        self
    }

    /// How many descriptors the client passes: those of its streams, then those of [`fds`](Self::fds).
    #[must_use]
    pub fn descriptors(&self) -> usize {
        let streams = [self.stdin, self.stdout, self.stderr];
        let passed = streams
            .iter()
            .filter(|mode| **mode == StreamMode::Descriptor);
        passed.count() + self.fds.len()
    }

    pub(super) fn new(invocation: Invocation) -> Self {
        Self {
            invocation,
            programs: Vec::new(),
            cwd: None,
            environment: Environment::default(),
            stdin: StreamMode::Null,
            stdin_len: None,
            stdout: StreamMode::Piped,
            stderr: StreamMode::Piped,
            fds: Vec::new(),
            limits: Limits::default(),
            on_disconnect: None,
            session: false,
            process_group: 0,
            terminal: false,
            umask: None,
            identity: Identity::default(),
            ignored_signals: Vec::new(),
            pidfd: false,
            token: None,
        }
    }
}

/// A line for the shell.
impl<T: Into<Bytes>> From<T> for Request {
    fn from(line: T) -> Self {
        Self::line(line)
    }
}

impl Environment {
    /// Whether nothing changes.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        *self == Self::default()
    }
}
