//! Who belongs to a run.
//!
//! Where there is no cgroup, the kernel has no name for "all that this command started". So a tree is
//! its leader, the leader's process group and session, every descendant of these by parent links, and
//! orphans that the kernel gave to this process: if they hold a pipe that was made for the run. Where
//! there is a cgroup, all that is in it belongs to the run, too.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rustix::process::{Pid, getpid};

use super::cgroup::RunCgroup;
use super::process_table::{ChildEnd, Entry, ProcessTable, descendants};
use crate::threads::Threads;

/// The processes of one run. Its leader must stay unreaped as long as this is used: the zombie pins
/// the number of the process group and of the session.
#[derive(Debug)]
pub(super) struct Tree {
    leader: Pid,
    marks: Marks,
    /// Members that were seen before, with their start times. They stay members when their parent
    /// dies and the kernel moves them elsewhere.
    known: HashMap<Pid, u64>,
}

/// What else tells a member of a run, wherever it went.
#[derive(Debug, Clone, Default)]
pub(super) struct Marks {
    /// The ends of the pipes that were made for this run.
    pub(super) pipes: Vec<ChildEnd>,
    pub(super) cgroup: Option<Arc<RunCgroup>>,
    /// Whether its session has a terminal, whose loss it is to be told.
    pub(super) has_terminal: bool,
    /// Kept, as the leader is killed when the thread that started it ends.
    pub(super) _threads: Option<Threads>,
}

impl Tree {
    pub(super) fn new(leader: Pid, marks: Marks) -> Self {
        Self {
            leader,
            marks,
            known: HashMap::new(),
        }
    }

    pub(super) fn leader(&self) -> Pid {
        self.leader
    }

    /// Whether its session has a terminal.
    pub(super) fn has_terminal(&self) -> bool {
        self.marks.has_terminal
    }

    /// The cgroup of all members, if there is one.
    pub(super) fn cgroup(&self) -> Option<&RunCgroup> {
        self.marks.cgroup.as_deref()
    }

    /// Takes in who descends from the leader now. Once it dies, nothing may tell that they did: not those
    /// that are in sessions of their own and hold no pipe of ours.
    pub(super) fn remember_descendants(&mut self) {
        let entries = descendants(self.leader).into_iter();
        self.known
            .extend(entries.map(|entry| (entry.pid, entry.started)));
    }

    /// The members that are alive at the moment of `table`. `leaders` are the leaders of all runs:
    /// they are children of this process, but no orphans.
    pub(super) fn living_members(
        &mut self,
        table: &ProcessTable,
        leaders: &HashSet<Pid>,
    ) -> Vec<Entry> {
        let in_cgroup: HashSet<Pid> = self.cgroup().map(RunCgroup::pids).unwrap_or_default();
        let roots = table
            .entries()
            .filter(|entry| in_cgroup.contains(&entry.pid) || self.is_root(entry, table, leaders))
            .map(|entry| entry.pid);
        let mut found: Vec<Pid> = roots.collect();
        let mut seen: HashSet<Pid> = found.iter().copied().collect();
        let mut next = 0;
        while let Some(&pid) = found.get(next) {
            next += 1;
            let children = table.children(pid).iter().copied();
            found.extend(children.filter(|child| seen.insert(*child)));
        }
        let members = found.into_iter().filter_map(|pid| table.get(pid).copied());
        let living: Vec<_> = members.filter(|entry| !entry.is_zombie).collect();
        let identities = living.iter().map(|entry| (entry.pid, entry.started));
        self.known = identities.collect();
        living
    }

    /// Whether a process is a member by what it is, not by its parent alone.
    fn is_root(&self, entry: &Entry, table: &ProcessTable, leaders: &HashSet<Pid>) -> bool {
        let leader = self.leader.as_raw_nonzero().get();
        if entry.pid == getpid() {
            return false;
        }
        let is_orphan = entry.parent == Some(getpid()) && !leaders.contains(&entry.pid);
        entry.pid == self.leader
            || entry.group == leader
            || entry.session == leader
            || self.known.get(&entry.pid) == Some(&entry.started)
            || (is_orphan && table.holds(entry.pid, &self.marks.pipes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pid(number: i32) -> Pid {
        Pid::from_raw(number).unwrap()
    }

    /// A living process in a group and session of its own, unless told otherwise.
    fn entry(number: i32, parent: i32) -> Entry {
        Entry {
            pid: pid(number),
            parent: Pid::from_raw(parent),
            group: number,
            session: number,
            started: 1,
            is_zombie: false,
        }
    }

    fn living(tree: &mut Tree, entries: &[Entry]) -> Vec<i32> {
        let table = entries.iter().copied().collect();
        let leaders = HashSet::from([pid(1_000_000), pid(2_000_000)]);
        let members = tree.living_members(&table, &leaders);
        let mut pids: Vec<_> = members
            .iter()
            .map(|entry| entry.pid.as_raw_nonzero().get())
            .collect();
        pids.sort_unstable();
        pids
    }

    #[test]
    fn group_session_and_descendants_are_members_and_neighbours_are_not() {
        let us = getpid().as_raw_nonzero().get();
        let leader = 1_000_000;
        let entries = [
            entry(leader, us),
            entry(2_000_000, us),
            Entry {
                group: leader,
                ..entry(10, 1)
            },
            Entry {
                session: leader,
                ..entry(11, 1)
            },
            entry(12, leader),
            entry(13, 12),
            entry(14, 13),
            entry(20, 2_000_000),
            entry(21, 1),
            entry(22, us),
        ];
        let mut tree = Tree::new(pid(leader), Marks::default());
        assert_eq!(living(&mut tree, &entries), [10, 11, 12, 13, 14, leader]);
    }

    #[test]
    fn a_member_stays_one_when_its_parent_has_died_but_its_number_may_be_given_again() {
        let leader = 1_000_000;
        let mut tree = Tree::new(pid(leader), Marks::default());
        let us = getpid().as_raw_nonzero().get();
        let begin = [entry(leader, us), entry(30, leader)];
        assert_eq!(living(&mut tree, &begin), [30, leader]);
        let moved = entry(30, 1);
        assert_eq!(living(&mut tree, &[moved]), [30]);
        let stranger = Entry {
            started: 2,
            ..moved
        };
        assert_eq!(living(&mut tree, &[stranger]), [0; 0]);
    }

    #[test]
    fn zombies_are_dead_and_this_process_is_no_member() {
        let leader = 1_000_000;
        let us = Entry {
            group: leader,
            ..entry(getpid().as_raw_nonzero().get(), leader)
        };
        let dead = Entry {
            is_zombie: true,
            ..entry(40, leader)
        };
        let mut tree = Tree::new(pid(leader), Marks::default());
        assert_eq!(living(&mut tree, &[dead]), [0; 0]);
        assert_eq!(living(&mut tree, &[us]), [0; 0]);
    }
}
