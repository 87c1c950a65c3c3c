//! A no that came before any process.

use std::fmt;

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
    /// The request waited for room for longer than its client allows.
    QueueTimeout,
    /// The server, or the protocol, cannot do what the request asks for.
    Unsupported,
    /// The server is shutting down.
    ShuttingDown,
    /// The client took its request back before it was started.
    Cancelled,
    /// A kind that this version has no name for.
    Other,
}

/// A [`RefusalKind`] and what to tell the client about it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The class of the refusal.
    pub kind: RefusalKind,
    /// At which step a start failed, such as `exec` or `chdir`.
    pub step: Option<String>,
    /// The kernel's error number, if it was the kernel that refused.
    pub errno: Option<i32>,
    /// What was wrong, naming the value; one line.
    pub message: String,
}

impl Refusal {
    /// A refusal of `kind` that says `message`.
    pub fn new(kind: RefusalKind, message: impl fmt::Display) -> Self {
        Self {
            kind,
            step: None,
            errno: None,
            message: message.to_string(),
        }
    }
}
