//! What sessions tell their drivers, the same for every protocol.

use bytes::Bytes;

use super::{Exit, Refusal, Request};

/// One of a command's two output streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// File descriptor 1.
    Stdout,
    /// File descriptor 2.
    Stderr,
}

/// Who gets a signal that a client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SignalTo {
    /// The process that the server has started.
    #[default]
    Leader,
    /// Its whole process group.
    Group,
}

/// What the server told a client.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientEvent {
    /// The command runs.
    Started {
        /// The leader's process id, as the server sees it.
        pid: u32,
    },
    /// Only classic: `len` bytes of a stream will follow; compare it with a cap before making room
    /// for them.
    Announced {
        /// Which stream.
        stream: Stream,
        /// Its whole length in bytes.
        len: u64,
    },
    /// The next bytes of a stream.
    Data {
        /// Which stream.
        stream: Stream,
        /// The bytes; never empty.
        data: Bytes,
    },
    /// A stream is at its end.
    End(Stream),
    /// The command reads no more of its stdin; what is still sent is thrown away.
    StdinClosed,
    /// The run is over and every byte of its output has been told; the last event.
    Exited(Exit),
    /// The server did not run the request; the last event.
    Refused(Refusal),
    /// The server says that we broke the protocol; the run ends as if we had gone. The last event.
    Failed {
        /// What the server has against it.
        message: String,
    },
}

/// What a client told the server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerEvent {
    /// Run this; its stdin follows as [`Stdin`](Self::Stdin) events.
    Run(Box<Request>),
    /// The next bytes of stdin; never empty.
    Stdin(Bytes),
    /// Stdin is over: its end was sent, or all announced bytes have come, or a classic client
    /// half-closed before.
    StdinEnd,
    /// Send this signal.
    Signal {
        /// The signal's number, from 1 to 64.
        number: u8,
        /// Who gets it.
        to: SignalTo,
    },
    /// End the run with its whole tree, as a timeout would. It comes once.
    Cancel,
    /// Only native: the client has gone before the run was over. Stdin may be incomplete.
    Gone,
}
