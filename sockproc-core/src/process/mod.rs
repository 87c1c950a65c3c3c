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
#[cfg(test)]
mod tests;
mod tree;

pub(crate) use cgroup::Delegation;
pub(crate) use command_line::CommandLine;
pub(crate) use leader::Leader;
pub(crate) use leaders::Leaders;
#[cfg(feature = "cli")]
pub(crate) use spawn::is_default;
pub(crate) use spawn::{close_inherited_fds, prepare_signals};
pub(crate) use spawner::Spawner;
pub(crate) use stdin_guard::{Held, StdinGuard};
#[cfg(feature = "cli")]
pub(crate) use sys::limit_heaps;
pub(crate) use sys::untaken;

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

use crate::proto::Invocation;
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

/// Whether there was no descriptor for a start, which may pass.
pub(crate) fn is_short_of_descriptors(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE))
}

impl Process {
    /// Starts a command in a process group of its own.
    ///
    /// # Errors
    /// The command was not started.
    ///
    /// # Cancel safety
    /// If the future is dropped, a command that starts all the same is ended.
    pub(crate) async fn spawn(spawner: &Spawner, invocation: &Invocation) -> io::Result<Self> {
        let line = CommandLine::new(invocation)?;
        let (ours, theirs) = pipes::make()?;
        let Started { claim, pidfd } = spawner.spawn(line, theirs).await?;
        let OurEnds {
            stdin,
            stdout,
            stderr,
        } = ours;
        Ok(Self {
            leader: Leader::new(claim, pidfd),
            stdin,
            stdout,
            stderr,
        })
    }
}
