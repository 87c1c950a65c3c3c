//! The leaders of all runs, and the other children of this process: orphans.
//!
//! The kernel gives orphans to PID 1 and to sub-reapers (prctl(2)), which must wait for them. No call
//! here waits for "any" child: that would take the wait statuses of leaders.

use std::collections::HashSet;
use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, WaitOptions, getpid, waitpid};
use tokio::sync::Notify;

use super::leader::Reaped;
use super::newborn::Newborn;
use super::process_table::children_of;
use super::sys;

/// A registry of the leaders that have not been reaped.
#[derive(Debug, Default)]
pub(crate) struct Leaders {
    children: Mutex<Children>,
    /// Told of the first child that is born after a look at the orphans has begun.
    birth: Notify,
    is_awaited: AtomicBool,
}

#[derive(Debug, Default)]
struct Children {
    leaders: HashSet<Pid>,
    /// The children that have not executed their program yet.
    newborn: Vec<Arc<Newborn>>,
}

impl Children {
    fn is_any(&self) -> bool {
        !(self.leaders.is_empty() && self.newborn.is_empty())
    }
}

impl Leaders {
    /// All of them at this moment, those included that are being born.
    pub(super) fn all(&self) -> HashSet<Pid> {
        let children = self.children();
        let newborn = children.newborn.iter();
        let newborn = newborn.filter_map(|newborn| newborn.pid());
        children.leaders.iter().copied().chain(newborn).collect()
    }

    /// Makes a child by `spawn`, without an instant in which it could be taken for an orphan. `spawn`
    /// has the child write its number into `newborn`.
    pub(super) fn add_leader<T, E>(
        &self,
        newborn: &Arc<Newborn>,
        spawn: impl FnOnce(&Newborn) -> Result<(Pid, T), E>,
    ) -> Result<(Pid, T), E> {
        self.children().newborn.push(newborn.clone());
        if self.is_awaited.swap(false, Relaxed) {
            self.birth.notify_one();
        }
        let spawned = spawn(newborn);
        let mut children = self.children();
        children
            .newborn
            .retain(|other| !Arc::ptr_eq(other, newborn));
        if let Ok((pid, _)) = &spawned {
            children.leaders.insert(*pid);
        }
        spawned
    }

    /// Resolves when a child has been born since the last [`reap_orphans`](Self::reap_orphans) began, and
    /// at times for an older one.
    pub(crate) async fn wait_for_birth(&self) {
        self.birth.notified().await;
    }

    /// How a leader has exited, if it has; never blocks. It is forgotten in the same moment,
    /// as its number can be given again.
    pub(super) fn wait_for_leader(&self, pid: Pid) -> io::Result<Option<Reaped>> {
        let mut children = self.children();
        let waited = sys::wait4(pid);
        if !matches!(waited, Ok(None)) {
            children.leaders.remove(&pid);
        }
        waited
    }

    /// Waits for every child that has exited and is no leader. Returns whether there is any child left, or
    /// one on its way.
    pub(crate) fn reap_orphans(&self) -> bool {
        // First this, so that no birth is missed: a child is known here already, or its birth is told.
        self.is_awaited.store(true, Relaxed);
        let mut is_left = self.children().is_any();
        for pid in children_of(getpid()) {
            let children = self.children();
            let mut newborn = children.newborn.iter();
            let is_leader = children.leaders.contains(&pid)
                || newborn.any(|newborn| newborn.pid() == Some(pid));
            // A child without a number in the registry has not run yet: it is not waited for here.
            is_left |= is_leader || matches!(waitpid(Some(pid), WaitOptions::NOHANG), Ok(None));
        }
        is_left
    }

    fn children(&self) -> MutexGuard<'_, Children> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    /// A start that fails counts as a birth, too.
    fn give_birth(leaders: &Leaders, meanwhile: impl FnOnce()) {
        let born: Result<(Pid, ()), ()> = leaders.add_leader(&Arc::default(), |_| {
            meanwhile();
            Err(())
        });
        assert_eq!(born, Err(()));
    }

    #[test]
    fn a_child_that_is_born_between_a_look_and_the_wait_is_told() {
        let leaders = Leaders::default();
        leaders.reap_orphans();
        give_birth(&leaders, || ());
        let told = pin!(leaders.wait_for_birth());
        assert!(
            told.poll(&mut Context::from_waker(Waker::noop()))
                .is_ready()
        );
    }

    #[test]
    fn a_child_that_is_being_born_is_left() {
        let leaders = Leaders::default();
        give_birth(&leaders, || assert!(leaders.reap_orphans()));
    }
}
