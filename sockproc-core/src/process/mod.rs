//! Supervision: one command from spawn to reap. Knows pids and pipes, not sockets.

mod cgroup;
mod command_line;
mod end;
mod leader;
mod leaders;
mod pipes;
mod process_table;
pub(crate) mod pump;
mod spawn;
mod spawner;
mod stdin_guard;
mod sys;
mod tree;

pub(crate) use cgroup::Delegation;
pub(crate) use command_line::CommandLine;
pub(crate) use leader::Leader;
pub(crate) use leaders::Leaders;
pub(crate) use spawn::{close_inherited_fds, is_default, prepare_signals};
pub(crate) use spawner::Spawner;
pub(crate) use stdin_guard::{Held, StdinGuard};
#[cfg(feature = "cli")]
pub(crate) use sys::limit_heaps;
pub(crate) use sys::untaken;

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

use pipes::OurEnds;
use spawner::Started;

/// Our end of a pipe whose other end a command holds.
pub(crate) type Pipe = AsyncFd<OwnedFd>;

/// A running command: its leader, and our ends of its three pipes.
pub(crate) struct Process {
    pub(crate) leader: Leader,
    pub(crate) stdin: Pipe,
    pub(crate) stdout: Pipe,
    pub(crate) stderr: Pipe,
}

/// Why there is no command to supervise.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpawnError {
    #[error("cannot spawn: {0}")]
    NotStarted(#[from] io::Error),
    #[error("killed: it was started, but cannot be watched: {0}")]
    Killed(io::Error),
}

impl SpawnError {
    /// Whether there was no descriptor for it, which may pass.
    pub(crate) fn is_short_of_descriptors(&self) -> bool {
        let Self::NotStarted(error) = self else {
            return false;
        };
        let errno = Errno::from_io_error(error);
        matches!(errno, Some(Errno::MFILE | Errno::NFILE))
    }
}

impl Process {
    /// Starts `/bin/sh -c command` in a process group of its own.
    ///
    /// # Cancel safety
    /// If the future is dropped, a command that starts all the same is ended.
    pub(crate) async fn spawn(spawner: &Spawner, command: &[u8]) -> Result<Self, SpawnError> {
        let line = CommandLine::shell(command)?;
        let (ours, theirs) = pipes::make()?;
        let Started { claim, pidfd } = spawner.spawn(line, theirs).await?;
        let leader = Leader::new(claim, pidfd).map_err(SpawnError::Killed)?;
        let OurEnds {
            stdin,
            stdout,
            stderr,
        } = ours;
        Ok(Self {
            leader,
            stdin,
            stdout,
            stderr,
        })
    }
}
