//! The child that we spawned: has it exited, and how.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{sleep, timeout};

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
    /// Gives whether the leader has exited; if not, the kernel or another user holds it.
    pub(crate) async fn terminate(&self, grace: Duration) -> bool {
        let group = self.group();
        group.signal(Signal::TERM);
        // A stopped process would sleep through SIGTERM.
        group.signal(Signal::CONT);
        let _ = timeout(grace, self.exited()).await;
        group.signal(Signal::KILL);
        timeout(UNKILLABLE_AFTER, self.exited()).await.is_ok()
    }

    /// The wait status; waits for the exit if it has not come yet.
    ///
    /// # Errors
    /// The status is lost: something else in this process has waited for our child.
    pub(crate) async fn reap(mut self) -> io::Result<WaitStatus> {
        self.exited().await;
        loop {
            if let Some(status) = self.claim.wait()? {
                return Ok(status);
            }
            // A tracer has it (ptrace(2)), and our turn comes when that lets go of it.
            sleep(TRACED_PAUSE).await;
        }
    }

    pub(crate) fn group(&self) -> Group {
        Group::of_leader(self.pid)
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }
}

impl Claim {
    /// The wait status, if it is there for us; never blocks.
    fn wait(&mut self) -> io::Result<Option<WaitStatus>> {
        let waited = self.orphans.wait_for_leader(self.pid);
        self.used = !matches!(waited, Ok(None));
        waited
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.used {
            return;
        }
        Group::of_leader(self.pid).signal(Signal::KILL);
        let (pid, orphans) = (self.pid, self.orphans.clone());
        // It may take its time to die, and a drop cannot wait. Without a thread it stays a zombie.
        let wait = move || {
            while let Ok(None) = orphans.wait_for_leader(pid) {
                thread::sleep(TRACED_PAUSE);
            }
        };
        let _ = thread::Builder::new().spawn(wait);
    }
}

/// A leader that lives on so long after SIGKILL is given up.
const UNKILLABLE_AFTER: Duration = Duration::from_secs(1);

/// The time between two looks at a leader whose exit only its tracer has seen.
const TRACED_PAUSE: Duration = Duration::from_millis(10);
