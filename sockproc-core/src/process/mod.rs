//! Supervision: one command from spawn to reap. Knows pids and pipes, not sockets.

mod cgroup;
mod command_line;
mod end;
mod leader;
mod leaders;
mod process_table;
pub(crate) mod pump;
mod spawn;
mod spawner;
mod sys;
mod tree;

pub(crate) use cgroup::Delegation;
pub(crate) use command_line::CommandLine;
pub(crate) use leader::Leader;
pub(crate) use leaders::Leaders;
pub(crate) use spawn::{close_inherited_fds, is_default, prepare_signals};
pub(crate) use spawner::Spawner;
pub(crate) use sys::untaken;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::reactor::watch;
use tree::Marks;

/// Our end of a pipe whose other end a command holds.
pub(crate) type Pipe = AsyncFd<OwnedFd>;

/// A running command: its leader, and our ends of its three pipes.
pub(crate) struct Process {
    pub(crate) leader: Leader,
    pub(crate) stdin: Pipe,
    pub(crate) stdout: Pipe,
    pub(crate) stderr: Pipe,
}

impl Process {
    /// Starts `/bin/sh -c command` in a process group of its own.
    ///
    /// Runs on a thread where blocking is allowed: an exec from a hung mount stops only its own run.
    pub(crate) async fn spawn(spawner: &Spawner, command: &[u8]) -> io::Result<Self> {
        let (spawner, ender) = (spawner.clone(), spawner.ender().clone());
        let line = CommandLine::shell(command)?;
        let started = tokio::task::spawn_blocking(move || spawner.spawn(&line))
            .await
            .map_err(io::Error::other)??;
        let marks = Marks {
            pipes: started.child_ends()?,
            cgroup: started.cgroup.map(Arc::new),
        };
        Ok(Self {
            leader: Leader::new(started.pid, started.pidfd, marks, ender)?,
            stdin: watch(started.stdin, Interest::WRITABLE)?,
            stdout: watch(started.stdout, Interest::READABLE)?,
            stderr: watch(started.stderr, Interest::READABLE)?,
        })
    }
}
