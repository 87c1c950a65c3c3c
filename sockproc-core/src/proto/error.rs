//! What can be wrong with a conversation, and whose fault it is.

use super::{ArgvError, Refusal};

/// A rule of the protocol was broken, by us ([`Local`](Self::is_local)) or by the peer.
///
/// A session that has returned an error is over: close its transport.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// Ours: the classic protocol ends a command at its first CRLF, so it cannot carry one.
    #[error("command holds CRLF at byte {offset}, which ends a classic command")]
    CrLfInCommand {
        /// Where in the command, counted from 0.
        offset: usize,
    },
    /// Ours: no program can be given an argument with a NUL in it.
    #[error("command holds a NUL at byte {offset}")]
    NulInLine {
        /// Where in the command, counted from 0.
        offset: usize,
    },
    /// Ours: the kernel takes no single argument this long.
    #[error("command is longer than {limit} bytes")]
    LongCommand {
        /// The longest command that can be run, in bytes.
        limit: usize,
    },
    /// Ours: words that are no argument vector.
    #[error(transparent)]
    Argv(#[from] ArgvError),
    /// Ours: the shell's `exec` would take the program for an option.
    #[error("program {program:?} begins with a dash: give its path")]
    Dash {
        /// The program, unprintable bytes escaped.
        program: String,
    },
    /// The peer's: no program can be given an argument with a NUL in it.
    #[error("command holds a NUL at byte {offset}")]
    NulInCommand {
        /// Where in the command, counted from 0.
        offset: usize,
    },
    /// The peer's: the kernel takes no single argument this long.
    #[error("command is longer than {limit} bytes")]
    CommandTooLong {
        /// The longest command that can be run, in bytes.
        limit: usize,
    },
    /// Ours: more stdin was sent than the request announced, or less.
    #[error("request announced {announced} bytes of stdin, {sent} were sent")]
    StdinLength {
        /// Bytes announced.
        announced: u64,
        /// Bytes sent.
        sent: u64,
    },
    /// Ours: the protocol of the server cannot carry this field of a request.
    #[error("the server's protocol cannot carry {field}")]
    Unsupported {
        /// The field, by its name in [`Request`](super::Request).
        field: &'static str,
    },
    /// Ours: a call that this state of the session does not allow.
    #[error("{call} is not allowed here")]
    WrongState {
        /// The call.
        call: &'static str,
    },
    /// Ours: a value that no request may hold.
    #[error("{name}: {why}")]
    Invalid {
        /// The value's name in the native protocol.
        name: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// Ours: a request that the server would not read to its end.
    #[error("a request of {len} bytes is longer than {limit}")]
    LongRequest {
        /// Its length on the wire.
        len: usize,
        /// The longest that may be sent.
        limit: usize,
    },
    /// Ours: more stdin than the server has room for now.
    #[error("{len} bytes of stdin were sent on a credit of {credit}")]
    StdinCredit {
        /// Bytes that were to be sent.
        len: usize,
        /// Bytes that may be sent.
        credit: usize,
    },
    /// The peer's: a request that cannot be run. It is answered by this refusal.
    #[error("{}", .0.message)]
    BadRequest(Box<Refusal>),
    /// The peer's: a frame that is longer than its type allows.
    #[error("a {frame} frame of {len} bytes is longer than {limit}")]
    FrameTooLong {
        /// The frame's type.
        frame: &'static str,
        /// The length that its header tells.
        len: u32,
        /// The most that it may be.
        limit: usize,
    },
    /// The peer's: a type of frame that does not exist and may not be skipped.
    #[error("unknown frame type {byte:#04x}")]
    UnknownFrame {
        /// The type.
        byte: u8,
    },
    /// The peer's: a frame that has no place here.
    #[error("a {frame} frame is not allowed here")]
    UnexpectedFrame {
        /// The frame's type.
        frame: &'static str,
    },
    /// The peer's: a frame's payload that means nothing.
    #[error("bad {frame} frame: {why}")]
    BadFrame {
        /// The frame's type.
        frame: &'static str,
        /// What is wrong, naming the value.
        why: String,
    },
    /// The peer's: more stdin than it has credit for.
    #[error("a STDIN frame of {len} bytes was sent on a credit of {credit}")]
    PastCredit {
        /// The frame's length.
        len: u64,
        /// What the client was allowed.
        credit: u64,
    },
    /// The peer's: the server speaks another version of the native protocol.
    #[error("the server speaks version {version:?} of the protocol, not 2")]
    Version {
        /// The version as the server sent it.
        version: String,
    },
    /// The peer's: a stdin length that no machine can hold.
    #[error("stdin length {text} is too large")]
    StdinTooLong {
        /// The length as it was sent.
        text: String,
    },
    /// The peer's: a line that ought to hold a number goes on and on.
    #[error("line is longer than {limit} bytes")]
    LineTooLong {
        /// The most that a line may hold, in bytes.
        limit: usize,
    },
    /// The peer's: a web browser or a proxy talks to a TCP port.
    #[error("an HTTP request is no command: {line:?}")]
    HttpRequest {
        /// The beginning of the request line.
        line: String,
    },
    /// The peer's: the answer is not that of a sockproc server.
    #[error("not a sockproc server: expected {expected}, got {got:?}")]
    Unexpected {
        /// What ought to have come.
        expected: &'static str,
        /// The beginning of what came.
        got: String,
    },
    /// The peer's: end of file in the middle of an answer.
    #[error("connection ended before the answer was complete")]
    Truncated,
}

impl ProtocolError {
    /// Whether the caller of this session made the mistake; otherwise the peer did.
    #[must_use]
    pub fn is_local(&self) -> bool {
        matches!(
            self,
            Self::CrLfInCommand { .. }
                | Self::NulInLine { .. }
                | Self::LongCommand { .. }
                | Self::Argv(_)
                | Self::Dash { .. }
                | Self::StdinLength { .. }
                | Self::Unsupported { .. }
                | Self::Invalid { .. }
                | Self::LongRequest { .. }
                | Self::StdinCredit { .. }
                | Self::WrongState { .. }
        )
    }
}

/// The beginning of `bytes`, short enough for an error message or a log line.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    const LONGEST: usize = 80;
    let shown = &bytes[..bytes.len().min(LONGEST)];
    let text = shown.escape_ascii().to_string();
    if bytes.len() > LONGEST {
        text + "…"
    } else {
        text
    }
}
