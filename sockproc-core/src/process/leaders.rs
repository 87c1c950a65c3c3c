//! The leaders of all runs, and the other children of this process: orphans.
//!
//! The kernel gives orphans to PID 1 and to sub-reapers (prctl(2)), which must wait for them. No call
//! here waits for "any" child: that would take the wait statuses of leaders.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use rustix::process::{Pid, WaitOptions, waitpid};

use crate::proto::WaitStatus;

/// A registry of the leaders that have not been reaped.
#[derive(Debug, Default)]
pub(crate) struct Leaders {
    leaders: Mutex<HashSet<Pid>>,
    /// Held for reading between a child's birth and its entry in `leaders`.
    births: RwLock<()>,
}

impl Leaders {
    /// All of them at this moment.
    pub(super) fn all(&self) -> HashSet<Pid> {
        self.leaders().clone()
    }

    /// Makes a child by `spawn`, without an instant in which it could be taken for an orphan.
    pub(super) fn add_leader<T>(
        &self,
        spawn: impl FnOnce() -> io::Result<(Pid, T)>,
    ) -> io::Result<(Pid, T)> {
        let _born = self.births.read().unwrap_or_else(PoisonError::into_inner);
        let (pid, rest) = spawn()?;
        self.leaders().insert(pid);
        Ok((pid, rest))
    }

    /// The wait status of a leader that has exited; never blocks. It is forgotten in the same moment,
    /// as its number can be given again.
    pub(super) fn wait_for_leader(&self, pid: Pid) -> io::Result<Option<WaitStatus>> {
        let mut leaders = self.leaders();
        let waited = waitpid(Some(pid), WaitOptions::NOHANG);
        if !matches!(waited, Ok(None)) {
            leaders.remove(&pid);
        }
        Ok(waited?.map(|(_, status)| WaitStatus::from_raw(status.as_raw())))
    }

    /// Waits for every child that has exited and is no leader. May block for as long as a spawn takes.
    pub(crate) fn reap_orphans(&self) {
        let _no_births = self.births.write().unwrap_or_else(PoisonError::into_inner);
        let leaders = self.leaders();
        for pid in children().filter(|pid| !leaders.contains(pid)) {
            let _ = waitpid(Some(pid), WaitOptions::NOHANG);
        }
    }

    fn leaders(&self) -> MutexGuard<'_, HashSet<Pid>> {
        self.leaders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Our children, of whichever thread (proc_pid_children(5)).
fn children() -> impl Iterator<Item = Pid> {
    let tasks = fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists.flat_map(|list| {
        let pids = list
            .split_ascii_whitespace()
            .map(|pid| pid.parse().ok().and_then(Pid::from_raw));
        pids.flatten().collect::<Vec<_>>()
    })
}
