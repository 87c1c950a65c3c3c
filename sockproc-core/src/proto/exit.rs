//! How a run ended, whatever the protocol that tells it.

use super::{ExitStatus, Stream};

/// How a run ended, and what is known about it. Each protocol tells what it can of this.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Exit {
    /// How the leader ended.
    pub status: ExitStatus,
    /// What ended the run, if the server did.
    pub ended_by: Option<EndedBy>,
    /// What passed the server of stdout.
    pub stdout: Moved,
    /// What passed the server of stderr.
    pub stderr: Moved,
    /// Processes of the run that are known to live on.
    pub survivors: u32,
    /// How the run's processes were found when it was ended.
    pub tree: Option<Reach>,
    /// From the start of the command to its end, in microseconds.
    pub wall_us: u64,
    /// Time on a processor outside the kernel, of the leader and of what it has waited for, in
    /// microseconds.
    pub user_us: u64,
    /// Time on a processor inside the kernel, likewise.
    pub system_us: u64,
}

/// Why a server ends a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndedBy {
    /// It went on for longer than its timeout.
    Timeout,
    /// It wrote nothing for longer than its idle timeout.
    IdleTimeout,
    /// It wrote more than it may.
    OutputLimit,
    /// Its client said so.
    Cancel,
    /// The server shuts down.
    Shutdown,
    /// A reason that this version has no name for.
    Other,
}

/// How the processes of a run are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reach {
    /// By the run's cgroup, which nothing leaves.
    Cgroup,
    /// By process group, session, parent links and pipes.
    Links,
}

/// What a server has read of an output stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Moved {
    /// Bytes that the command has written.
    pub bytes: u64,
    /// How many of these were thrown away.
    pub cut: u64,
}

impl Exit {
    /// A run whose leader ended in this way.
    #[must_use]
    pub fn new(status: ExitStatus) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    /// As [`moved`](Self::moved), to be changed.
    pub(crate) fn moved_mut(&mut self, stream: Stream) -> &mut Moved {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    /// What passed the server of a stream.
    #[must_use]
    pub fn moved(&self, stream: Stream) -> Moved {
        match stream {
            Stream::Stdout => self.stdout,
            Stream::Stderr => self.stderr,
        }
    }
}
