//! What is to happen in a conversation.

use sockproc_core::proto::{ExitStatus, ProtocolError, RefusalKind};

/// How a conversation ended for its client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    Exited(ExitStatus),
    Refused(RefusalKind),
    Broken(ProtocolError),
}

/// So many bytes that their order shows.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Text {
    pub(super) len: usize,
    pub(super) seed: u8,
}

impl Text {
    pub(super) fn bytes(self) -> Vec<u8> {
        let bytes = (0..self.len).map(|index| (index * 31 + index / 251) as u8 ^ self.seed);
        bytes.collect()
    }
}

/// What makes a conversation this one.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Plan {
    pub(super) stdin: Text,
    pub(super) stderr: Text,
    /// After so many bytes the command closes its stdin.
    pub(super) reads: Option<usize>,
    /// Whether the client reads nothing while it may write.
    pub(super) is_stubborn: bool,
    pub(super) is_refused: bool,
    pub(super) client_lasts: Option<usize>,
    pub(super) server_lasts: Option<usize>,
}

/// What one of the parties may do next.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    ClientWrites(usize),
    ClientReads(usize),
    ServerReads(usize),
    ServerStarts,
    ServerWrites(usize),
    CommandReads(usize),
    ClientSignals(u8),
    ClientCancels,
}
