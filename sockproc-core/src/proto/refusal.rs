//! A no that came before any process.

use std::fmt;

use super::WaitStatus;

/// Why the server did not run a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusalKind {
    /// The request breaks the protocol or cannot be run by any kernel.
    BadRequest,
    /// The server's policy forbids it.
    Policy,
    /// The server has no room now; asking again later may help.
    Busy,
    /// The kernel would not start the process.
    CannotSpawn,
}

impl RefusalKind {
    /// The wait status that stands for it on the classic protocol: an exit code from `sysexits.h`
    /// (64 `EX_USAGE`, 69 `EX_UNAVAILABLE`, 71 `EX_OSERR`, 75 `EX_TEMPFAIL`).
    #[must_use]
    pub const fn wait_status(self) -> WaitStatus {
        WaitStatus::from_code(match self {
            Self::BadRequest => 64,
            Self::Policy => 69,
            Self::CannotSpawn => 71,
            Self::Busy => 75,
        })
    }
}

/// A [`RefusalKind`] and what to tell the client about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The class of the refusal.
    pub kind: RefusalKind,
    /// What was wrong, naming the value; one line.
    pub message: String,
}

impl Refusal {
    /// A refusal of `kind` that says `message`.
    pub fn new(kind: RefusalKind, message: impl fmt::Display) -> Self {
        Self {
            kind,
            message: message.to_string(),
        }
    }
}
