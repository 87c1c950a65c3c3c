//! What can go wrong for a caller, and whether the command may have run all the same.

use std::ffi::OsString;
use std::io;
use std::time::Duration;

use crate::proto::{ArgvError, ProtocolError, Refusal, RefusalKind, Stream};
use crate::{Address, AddressError, TokenError};

/// Why there is no result of a run.
///
/// A command's own failure is no error: a non-zero exit code and a signal are results.
/// [`may_have_run`](Self::may_have_run) says whether asking again could run the command twice.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No server is named, and there is no [private helper](crate::embedded); nothing was sent.
    #[error("no server: {reason}; give an address or set SOCKPROC_SOCKET")]
    NoServer {
        /// What was looked for.
        reason: String,
    },
    /// The [private helper](crate::embedded) could not be started, or not serve; nothing was run.
    #[error("the private helper {program:?} cannot serve")]
    Helper {
        /// Its program.
        program: OsString,
        /// The kernel's reason, or its own.
        source: io::Error,
    },
    /// This is no address; nothing was sent.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The file that `$SOCKPROC_TOKEN_FILE` names cannot be used; nothing was sent.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// No connection came about; nothing was sent.
    #[error("cannot connect to {address}")]
    Connect {
        /// Where a server was expected.
        address: Address,
        /// The kernel's reason.
        source: io::Error,
    },
    /// These words are no argument vector; nothing was sent.
    #[error(transparent)]
    Argv(#[from] ArgvError),
    /// The protocol cannot carry this command; nothing was sent.
    #[error(transparent)]
    Request(ProtocolError),
    /// The connection ended before the answer was complete.
    #[error("connection to the server was lost")]
    Disconnected {
        /// Whether any byte of the request was sent.
        sent: bool,
        /// The kernel's reason; `UnexpectedEof` if the server closed the connection.
        source: io::Error,
    },
    /// The server says that this client has broken the native protocol; it ends the run.
    #[error("server gave the run up: {message}")]
    Failed {
        /// What the server says.
        message: String,
    },
    /// What came is no answer of a sockproc server.
    #[error(transparent)]
    Protocol(ProtocolError),
    /// The answer was not complete in time.
    ///
    /// A native server has ended the command with its whole tree, and its output is whole up to then. On
    /// the classic protocol the client has given up, and nothing of the output has come.
    #[error("no answer within {timeout:?}")]
    Timeout {
        /// How long the caller was ready to wait.
        timeout: Duration,
        /// Whether any byte of the request was sent.
        sent: bool,
        /// What the command had written to stdout.
        stdout: Vec<u8>,
        /// What the command had written to stderr.
        stderr: Vec<u8>,
    },
    /// The command wrote nothing for too long, and the server has ended it.
    #[error("no output within {timeout:?}")]
    IdleTimeout {
        /// How long it was allowed to be silent.
        timeout: Duration,
        /// What it had written to stdout.
        stdout: Vec<u8>,
        /// What it had written to stderr.
        stderr: Vec<u8>,
    },
    /// The server refused the request before it started any process.
    #[error("server refused: {message}")]
    Refused {
        /// Why.
        kind: RefusalKind,
        /// At which step a start failed, such as `exec` or `chdir`.
        step: Option<String>,
        /// The kernel's error number, if it was the kernel that refused.
        errno: Option<i32>,
        /// What the server says.
        message: String,
    },
    /// The request has a part that cannot be carried to this server; nothing was run.
    #[error("{by} cannot carry {field}")]
    Unsupported {
        /// The part, by its name in the native protocol.
        field: &'static str,
        /// What cannot carry it: the classic protocol, or a TCP connection.
        by: &'static str,
    },
    /// The output is longer than the caller takes; no memory was taken for it.
    #[error("{} of {len} bytes goes past the output limit of {limit} bytes", name(*stream))]
    OutputTooLarge {
        /// The stream that goes past the limit.
        stream: Stream,
        /// Its length, as announced.
        len: u64,
        /// The limit, for both streams together.
        limit: u64,
    },
    /// There is no memory for the output.
    #[error("no room for {len} bytes of {}", name(*stream))]
    NoRoom {
        /// The stream that does not fit.
        stream: Stream,
        /// Its length, as announced.
        len: u64,
        /// Why there is none.
        source: io::Error,
    },
    /// The caller's source of stdin failed, or ended too early; the command was given up.
    #[error("cannot read the stdin meant for the command")]
    Stdin {
        /// Whether any byte of the request was sent.
        sent: bool,
        /// What the source said; `UnexpectedEof` if it ended too early.
        source: io::Error,
    },
    /// A descriptor that is to be handed over cannot be copied, a pipe cannot be made or read.
    #[error("cannot use a descriptor of the command's streams")]
    Descriptor(#[source] io::Error),
    /// The operating system would not let us wait for the answer.
    #[error("cannot wait for the answer")]
    Wait(#[source] io::Error),
}

impl Error {
    /// Whether the command may have run, or may still be running; if not, asking again is safe.
    #[must_use]
    pub fn may_have_run(&self) -> bool {
        match self {
            Self::NoServer { .. }
            | Self::Helper { .. }
            | Self::Address(_)
            | Self::Token(_)
            | Self::Connect { .. }
            | Self::Argv(_)
            | Self::Request(_)
            | Self::Refused { .. }
            | Self::Unsupported { .. } => false,
            Self::Disconnected { sent, .. }
            | Self::Timeout { sent, .. }
            | Self::Stdin { sent, .. } => *sent,
            Self::Protocol(_)
            | Self::Failed { .. }
            | Self::IdleTimeout { .. }
            | Self::OutputTooLarge { .. }
            | Self::NoRoom { .. }
            | Self::Descriptor(_)
            | Self::Wait(_) => true,
        }
    }
}

impl Error {
    /// The classic protocol has no place for `field`.
    pub(crate) fn classic_cannot(field: &'static str) -> Self {
        let by = "the classic protocol";
        Self::Unsupported { field, by }
    }

    /// A request that a session did not take.
    pub(crate) fn of_request(error: ProtocolError) -> Self {
        match error {
            ProtocolError::Unsupported { field } => Self::classic_cannot(field),
            ProtocolError::Argv(error) => Self::Argv(error),
            error => Self::Request(error),
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let Refusal {
            kind,
            step,
            errno,
            message,
        } = refusal;
        Self::Refused {
            kind,
            step,
            errno,
            message,
        }
    }
}

fn name(stream: Stream) -> &'static str {
    match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    }
}
