//! What a client asks a server to run, whatever the protocol that carries it.

use std::num::NonZeroU64;

use bytes::Bytes;

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
    /// Whom it runs as; `None`: as the server.
    pub identity: Identity,
    /// Signals that it ignores when it starts, by their numbers.
    pub ignored_signals: Vec<u32>,
    /// Whether the client wants the leader's pidfd.
    pub pidfd: bool,
    /// What proves to the server that the client may ask.
    pub token: Option<Bytes>,
}

/// How a command is given.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Invocation {
    /// Handed to `/bin/sh -c` as it is; any bytes except NUL.
    Line(Bytes),
    /// A program and its arguments; no shell looks at them.
    Argv(Argv),
}

/// An argument vector: never empty, and without a NUL in any word.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Argv(Vec<Bytes>);

/// Why words are no argument vector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArgvError {
    /// There is no program to run.
    #[error("argv is empty")]
    Empty,
    /// No program can be given an argument with a NUL in it.
    #[error("argument {index} holds a NUL")]
    Nul {
        /// Which word; the program is 0.
        index: usize,
    },
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

/// How long a run may take, and how much it may write. `None`: no limit, or the server's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct Limits {
    /// From the start of the command to its end.
    pub timeout: Option<Millis>,
    /// Without any output, counted only while the server reads it.
    pub idle_timeout: Option<Millis>,
    /// From the whole request to the start of the command.
    pub queue_timeout: Option<Millis>,
    /// From SIGTERM to SIGKILL when the run is ended.
    pub grace: Option<Millis>,
    /// After the leader's exit, the longest that streams are read which others still hold.
    pub linger: Option<Millis>,
    /// Bytes of both output streams together.
    pub max_output: Option<u64>,
    /// What happens past [`max_output`](Self::max_output).
    pub past_max: PastMax,
}

/// What happens to a run that writes more than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PastMax {
    /// It is ended with its whole tree.
    #[default]
    Kill,
    /// It goes on; what it writes more is read, counted and thrown away.
    Discard,
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

/// Whom a command runs as, by number.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Identity {
    /// The user.
    pub user: Option<u32>,
    /// The group.
    pub group: Option<u32>,
    /// All supplementary groups, in place of the server's.
    pub supplementary_groups: Option<Vec<u32>>,
}

/// A duration in milliseconds, at least 1 and at most [`Millis::MAX`]. A protocol names no clock, so
/// this is a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(NonZeroU64);

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

impl Argv {
    /// Takes `words` for an argument vector, if they can be one.
    ///
    /// # Errors
    /// [`ArgvError`], which names the word.
    pub fn new<W: Into<Bytes>>(words: impl IntoIterator<Item = W>) -> Result<Self, ArgvError> {
        let words: Vec<Bytes> = words.into_iter().map(Into::into).collect();
        if words.is_empty() {
            return Err(ArgvError::Empty);
        }
        match words.iter().position(|word| word.contains(&0)) {
            Some(index) => Err(ArgvError::Nul { index }),
            None => Ok(Self(words)),
        }
    }

    /// The words; the program is the first.
    #[must_use]
    pub fn words(&self) -> &[Bytes] {
        &self.0
    }
}

impl Environment {
    /// Whether nothing changes.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        *self == Self::default()
    }
}

impl Millis {
    /// The longest, almost 35 years: what is longer means this.
    pub const MAX: u64 = 1 << 40;

    /// `ms` milliseconds, or [`MAX`](Self::MAX) if that is less; `None` for 0.
    #[must_use]
    pub fn new(ms: u64) -> Option<Self> {
        NonZeroU64::new(ms.min(Self::MAX)).map(Self)
    }

    /// As [`new`](Self::new), but 0 becomes 1.
    #[must_use]
    pub fn at_least_one(ms: u64) -> Self {
        Self(NonZeroU64::new(ms.min(Self::MAX)).unwrap_or(NonZeroU64::MIN))
    }

    /// The number of milliseconds.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_no_program_can_be_given_are_refused_by_their_place() {
        assert_eq!(Argv::new([""; 0]), Err(ArgvError::Empty));
        assert_eq!(
            Argv::new(["echo", "a\0b"]),
            Err(ArgvError::Nul { index: 1 })
        );
        assert_eq!(Argv::new([""]).unwrap().words(), [Bytes::new()]);
    }

    #[test]
    fn a_duration_is_at_least_1_ms_and_at_most_2_to_the_40() {
        assert_eq!(Millis::new(0), None);
        assert_eq!(Millis::new(1).map(Millis::get), Some(1));
        assert_eq!(Millis::new(u64::MAX).map(Millis::get), Some(1 << 40));
    }
}
