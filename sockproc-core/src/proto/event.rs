//! What sessions tell their drivers, the same for every protocol.

use bytes::Bytes;

use super::{Exit, Request};

/// One of a command's two output streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// File descriptor 1.
    Stdout,
    /// File descriptor 2.
    Stderr,
}

/// What the server told a client.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientEvent {
    /// So many bytes of a stream will follow; compare it with a cap before making room for them.
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
    /// The run is over and every byte of its output has been given; always the last event.
    Exited(Exit),
}

/// What a client told the server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerEvent {
    /// Run this; its stdin follows as [`Stdin`](Self::Stdin) events.
    Run(Box<Request>),
    /// The next bytes of stdin; never empty.
    Stdin(Bytes),
    /// Stdin is over: all announced bytes have come, or the client half-closed before.
    StdinEnd,
}
