//! What a connection and its driver tell each other.

use std::time::Duration;

#[cfg(doc)]
use super::Connection;

/// What a [`Connection`] waits for on its descriptor, or what its driver found there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Interest {
    /// Reading does not block; an error or a hang-up counts.
    pub readable: bool,
    /// Writing does not block; an error or a hang-up counts.
    pub writable: bool,
}

/// What to do after a call of [`Connection::on_ready`]. `T` is what is known when the run is over.
#[derive(Debug)]
pub enum Progress<T> {
    /// Wait until the descriptor is ready for [`Connection::interest`], then call again.
    ///
    /// Whatever of it was said to be ready has been used up, as edge-triggered drivers need it.
    Wait,
    /// Much was moved and more may be ready: let others have their turn, then call again with the
    /// same readiness. A level-triggered driver may take this for [`Wait`](Self::Wait).
    Yield,
    /// The listener's backlog is full and nothing was sent: call again after so long, no readiness
    /// will tell.
    Retry(Duration),
    /// The server wants another connection: stop waiting for the descriptor, then call again with no
    /// readiness. From then on the descriptor is another one.
    Reconnect,
    /// The run is over; the connection is of no further use.
    Done(T),
}

impl Interest {
    /// Nothing to wait for, nothing found: what the first call of [`Connection::on_ready`] takes.
    pub const NONE: Self = Self {
        readable: false,
        writable: false,
    };

    /// Something to read, or the end of it.
    pub const READABLE: Self = Self {
        readable: true,
        writable: false,
    };

    /// Room for something to be written.
    pub const WRITABLE: Self = Self {
        readable: false,
        writable: true,
    };
}
