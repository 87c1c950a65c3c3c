//! The child that we spawned: has it exited, and how.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, waitpid};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::Group;
use crate::proto::WaitStatus;
use crate::reactor::watch;

/// A process leader. Until [`reap`](Self::reap) its number, and so its group's, is nobody else's.
///
/// Dropped without being reaped, it is killed with its group.
pub(crate) struct Leader {
    pid: Pid,
    pidfd: AsyncFd<OwnedFd>,
    reaped: bool,
}

impl Leader {
    pub(super) fn new(pid: Pid, pidfd: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            pid,
            pidfd: watch(pidfd, Interest::READABLE)?,
            reaped: false,
        })
    }

    /// Resolves once the leader has exited; it stays a zombie.
    pub(crate) async fn exited(&self) {
        // A pidfd is readable for good once its process is a zombie (pidfd_open(2)).
        if let Err(error) = self.pidfd.readable().await {
            tracing::error!(pid = self.pid(), %error, "cannot wait for a leader");
        }
    }

    /// Ends the group: SIGTERM, `grace` for the leader to exit, SIGKILL for all that is left of it.
    pub(crate) async fn terminate(&self, grace: Duration) {
        let group = self.group();
        group.signal(Signal::TERM);
        // A stopped process would sleep through SIGTERM.
        group.signal(Signal::CONT);
        let _ = tokio::time::timeout(grace, self.exited()).await;
        group.signal(Signal::KILL);
        self.exited().await;
    }

    /// The wait status; waits for the exit if it has not come yet.
    ///
    /// # Errors
    /// The status is lost: something else in this process has waited for our child.
    pub(crate) async fn reap(mut self) -> io::Result<WaitStatus> {
        self.exited().await;
        self.reaped = true;
        match waitpid(Some(self.pid), WaitOptions::empty())? {
            Some((_, status)) => Ok(WaitStatus::from_raw(status.as_raw())),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(crate) fn group(&self) -> Group {
        Group::of_leader(self.pid)
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        if !self.reaped {
            self.group().signal(Signal::KILL);
            let _ = waitpid(Some(self.pid), WaitOptions::NOHANG);
        }
    }
}
