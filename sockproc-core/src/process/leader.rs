//! The child that we spawned: has it exited, and how.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::process::Pid;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::time::sleep;

use super::end::Ender;
use super::ending::Survivors;
use super::process_table::ProcessTable;
use super::sys;
use super::tree::{Marks, Tree};
use crate::proto::{Reach, WaitStatus};
use crate::reactor::{self, ready_now};

/// A process leader. Until [`reap`](Self::reap) the kernel gives its number, and so its group's, to no other process.
///
/// Dropped without being reaped, it is ended with its tree, and reaped, in the background.
pub(crate) struct Leader {
    pid: Pid,
    exit: ExitWatch,
    /// The end of its tree, once that has begun.
    ending: OnceLock<watch::Receiver<Option<Survivors>>>,
    claim: Claim,
}

/// How a leader ended, and its time on a processor: its own, and that of all that it has waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reaped {
    pub(crate) status: WaitStatus,
    pub(crate) user: Duration,
    pub(crate) system: Duration,
}

/// What lives on of a tree although it was killed, as far as this process can see: the kernel or another
/// user holds it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended {
    pub(crate) survivors: usize,
    /// Whether the leader is one of them.
    pub(crate) has_leader: bool,
}

/// How the exit of a leader is seen: its pidfd is readable then, for good (pidfd_open(2)).
enum ExitWatch {
    Watched(AsyncFd<OwnedFd>),
    /// The reactor takes no more (epoll_ctl(2), ENOSPC).
    LookedAt(OwnedFd),
}

/// The right to wait for a leader; dropped without having been used, it has the tree ended.
pub(super) struct Claim {
    pid: Pid,
    marks: Marks,
    ender: Ender,
    used: bool,
}

impl Leader {
    /// Watches a child that is in the registry. It runs already, so this does not fail.
    pub(super) fn new(claim: Claim, pidfd: OwnedFd) -> Self {
        let exit = match reactor::try_watch(pidfd, Interest::READABLE) {
            Ok(pidfd) => ExitWatch::Watched(pidfd),
            Err((pidfd, error)) => {
                tracing::warn!(%error, "cannot watch a leader, looking at it now and then");
                ExitWatch::LookedAt(pidfd)
            }
        };
        Self {
            pid: claim.pid,
            exit,
            ending: OnceLock::new(),
            claim,
        }
    }

    /// Signals the leader, or all of its process group. Whatever has ended gets no signal.
    pub(crate) fn signal(&self, number: u8, is_for_group: bool) {
        if is_for_group {
            sys::kill_group(self.pid, number.into());
        } else {
            sys::pidfd_signal(self.pidfd(), number.into());
        }
    }

    /// The leader's own descriptor.
    pub(crate) fn pidfd(&self) -> BorrowedFd<'_> {
        match &self.exit {
            ExitWatch::Watched(pidfd) => pidfd.as_fd(),
            ExitWatch::LookedAt(pidfd) => pidfd.as_fd(),
        }
    }

    /// How the processes of this run are found.
    pub(crate) fn reach(&self) -> Reach {
        match self.claim.marks.cgroup {
            Some(_) => Reach::Cgroup,
            None => Reach::Links,
        }
    }

    /// How many processes of the run live at this moment, the leader not counted: the rest of a tree
    /// whose leader has exited.
    pub(crate) async fn count_survivors(&self) -> usize {
        let (mut tree, leaders) = (self.claim.tree(), self.claim.ender.leaders().clone());
        let count = move || {
            let living = tree.living_members(&ProcessTable::read(), &leaders.all());
            living.len()
        };
        tokio::task::spawn_blocking(count).await.unwrap_or(0)
    }

    /// Resolves once the leader has exited; it stays a zombie.
    pub(crate) async fn exited(&self) {
        match &self.exit {
            ExitWatch::Watched(pidfd) => {
                if let Err(error) = pidfd.readable().await {
                    tracing::error!(pid = self.pid(), %error, "cannot wait for a leader");
                }
            }
            ExitWatch::LookedAt(pidfd) => {
                while ready_now(pidfd, PollFlags::IN).is_empty() {
                    sleep(LOOK_PAUSE).await;
                }
            }
        }
    }

    /// Ends the tree: SIGTERM, `grace` for all of it to exit, SIGKILL for what is left. A second call
    /// waits for the same end.
    ///
    /// # Cancel safety
    /// The tree is ended even if the future is dropped.
    pub(crate) async fn terminate(&self, grace: Duration) -> Ended {
        let ending = || self.claim.ender.end(self.claim.tree(), grace);
        let survivors = ended(self.ending.get_or_init(ending)).await;
        if !survivors.is_empty() {
            let pids: Vec<_> = survivors.iter().map(|pid| pid.as_raw_nonzero()).collect();
            tracing::warn!(leader = self.pid(), ?pids, "killed, but these live on");
        }
        Ended {
            survivors: survivors.len(),
            has_leader: survivors.contains(&self.pid),
        }
    }

    /// Kills the tree, its group at once; returns when that is done.
    ///
    /// # Cancel safety
    /// As [`terminate`](Self::terminate).
    pub(crate) async fn kill(&self) {
        self.claim.ender.hasten(self.pid);
        self.terminate(Duration::ZERO).await;
    }

    /// How it ended; waits for the exit if it has not come yet, and for the end of the tree if that
    /// has begun.
    ///
    /// # Errors
    /// The status is lost: something else in this process has waited for our child.
    pub(crate) async fn reap(mut self) -> io::Result<Reaped> {
        if let Some(ending) = self.ending.get() {
            ended(ending).await;
        }
        self.exited().await;
        loop {
            match self.claim.wait() {
                Ok(Some(reaped)) => return Ok(reaped),
                Ok(None) => {}
                Err(error) => return self.stolen().await.ok_or(error),
            }
            // A tracer has it (ptrace(2)), and our turn comes when that lets go of it.
            sleep(LOOK_PAUSE).await;
        }
    }

    /// How it ended, after something else in this process has waited for it; its processor time is lost.
    async fn stolen(&self) -> Option<Reaped> {
        /// The thief may be about to finish.
        const LOOKS: u32 = 10;
        for _ in 0..LOOKS {
            if let Some(status) = sys::stolen_status(self.pidfd()) {
                let (user, system) = (Duration::ZERO, Duration::ZERO);
                return Some(Reaped {
                    status,
                    user,
                    system,
                });
            }
            sleep(Duration::from_millis(1)).await;
        }
        None
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }
}

/// Resolves when a tree has ended.
async fn ended(ending: &watch::Receiver<Option<Survivors>>) -> Survivors {
    let mut ending = ending.clone();
    let told = ending.wait_for(Option::is_some).await;
    told.ok()
        .and_then(|survivors| survivors.clone())
        .unwrap_or_default()
}

impl Claim {
    /// The right to wait for `pid`, whose tree bears `marks` and which is in the registry of `ender`.
    pub(super) fn new(pid: Pid, marks: Marks, ender: Ender) -> Self {
        Self {
            pid,
            marks,
            ender,
            used: false,
        }
    }

    /// The wait status, if it is there for us; never blocks.
    fn wait(&mut self) -> io::Result<Option<Reaped>> {
        let waited = self.ender.leaders().wait_for_leader(self.pid);
        self.used = !matches!(waited, Ok(None));
        waited
    }

    fn tree(&self) -> Tree {
        Tree::new(self.pid, self.marks.clone())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.used {
            self.ender.end_and_reap(self.tree());
        }
    }
}

/// The time between two looks at a leader that the reactor does not watch, or whose exit only its tracer
/// has seen.
const LOOK_PAUSE: Duration = Duration::from_millis(10);
