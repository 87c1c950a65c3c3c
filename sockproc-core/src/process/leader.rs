//! The child that we spawned: has it exited, and how.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, waitpid};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::{Group, Orphans};
use crate::proto::WaitStatus;
use crate::reactor::watch;

/// A process leader. Until [`reap`](Self::reap) its number, and so its group's, is nobody else's.
///
/// Dropped without being reaped, it is killed with its group.
pub(crate) struct Leader {
    pid: Pid,
    pidfd: AsyncFd<OwnedFd>,
    claim: Claim,
}

/// The right to wait for a leader; dropped without having been used, it kills the leader's group.
struct Claim {
    pid: Pid,
    orphans: Arc<Orphans>,
    used: bool,
}

impl Leader {
    /// Watches the child `pid`, which `orphans` knows as a leader.
    pub(super) fn new(pid: Pid, pidfd: OwnedFd, orphans: Arc<Orphans>) -> io::Result<Self> {
        let claim = Claim {
            pid,
            orphans,
            used: false,
        };
        Ok(Self {
            pid,
            pidfd: watch(pidfd, Interest::READABLE)?,
            claim,
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
        self.claim
            .wait(WaitOptions::empty())?
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(crate) fn group(&self) -> Group {
        Group::of_leader(self.pid)
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }
}

impl Claim {
    fn wait(&mut self, options: WaitOptions) -> io::Result<Option<WaitStatus>> {
        self.used = true;
        let waited = waitpid(Some(self.pid), options);
        self.orphans.remove_leader(self.pid);
        Ok(waited?.map(|(_, status)| WaitStatus::from_raw(status.as_raw())))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.used {
            Group::of_leader(self.pid).signal(Signal::KILL);
            let _ = self.wait(WaitOptions::NOHANG);
        }
    }
}
