//! Supervision: one command from spawn to reap. Knows pids and pipes, not sockets.

mod cgroup;
mod end;
mod ending;
mod leader;
mod leaders;
mod newborn;
mod pipes;
mod process_table;
pub(crate) mod pump;
mod slots;
mod spawn;
mod spawner;
mod spec;
mod start_error;
mod stdin_guard;
mod sys;
#[cfg(test)]
mod tests;
mod tree;

pub(crate) use cgroup::Delegation;
pub(crate) use leader::{Ended, Leader, Reaped};
pub(crate) use leaders::Leaders;
pub(crate) use newborn::Newborn;
pub(crate) use spawner::Spawner;
pub(crate) use spec::{Passed, Spec};
pub(crate) use start_error::{StartError, StartStep};
pub(crate) use stdin_guard::{Held, StdinGuard};
#[cfg(feature = "cli")]
pub(crate) use sys::{close_all_but, ignore_signals, is_default, limit_heaps};
pub(crate) use sys::{close_inherited_fds, prepare_signals, untaken};

use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::io::unix::AsyncFd;

use pipes::OurEnds;
use spawner::Started;

/// Our end of a pipe whose other end a command holds.
pub(crate) type Pipe = AsyncFd<OwnedFd>;

/// A running command: its leader, and our ends of those of its streams that are piped. There is none of a
/// stdin that is known to be empty.
pub(crate) struct Process {
    pub(crate) leader: Leader,
    pub(crate) stdin: Option<Pipe>,
    pub(crate) stdout: Option<Pipe>,
    pub(crate) stderr: Option<Pipe>,
}

impl Process {
    /// Starts a command. By `newborn` that can be given up on the way.
    ///
    /// # Errors
    /// The command was not started.
    ///
    /// # Cancel safety
    /// If the future is dropped, a command that starts all the same is ended.
    pub(crate) async fn spawn(
        spawner: &Spawner,
        spec: Arc<Spec>,
        newborn: &Arc<Newborn>,
    ) -> Result<Self, StartError> {
        let (ours, theirs) = pipes::make(spec.streams, spec.is_stdin_empty)
            .map_err(StartError::at(StartStep::Pipe))?;
        let Started { claim, pidfd } = spawner.spawn(spec, theirs, newborn).await?;
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
