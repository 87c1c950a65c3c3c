//! The end of one tree: SIGTERM, a grace period until the tree is empty, SIGKILL, and a look at whether
//! that was true.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};
use tokio::sync::watch;

use super::Leaders;
use super::process_table::{Entry, ProcessTable};
use super::tree::Tree;

/// A member that lives on for this long after SIGKILL survives: the kernel or another user holds it.
const KILL_TIMEOUT: Duration = Duration::from_secs(1);

/// A stopped process would sleep through SIGTERM alone.
const TERMINATE: &[Signal] = &[Signal::TERM, Signal::CONT];

/// What a session gets that loses its terminal. A shell with job control ignores SIGTERM.
const HANG_UP: &[Signal] = &[Signal::HUP, Signal::CONT];

/// Members that live on although they got SIGKILL, as far as this process can see.
pub(super) type Survivors = Vec<Pid>;

/// Told of the end of a tree.
pub(super) type Tell = watch::Sender<Option<Survivors>>;

/// A tree on its way to its end.
#[derive(Debug)]
pub(super) struct Ending {
    tree: Tree,
    phase: Phase,
    /// What has got SIGKILL, each with its start time.
    killed: HashSet<(Pid, u64)>,
    /// Whether the last look found a member that had not got SIGKILL yet.
    pub(super) is_growing: bool,
    tell: Vec<Tell>,
    reap: bool,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Begin {
        grace: Duration,
    },
    /// SIGTERM was sent.
    Grace {
        until: Instant,
    },
    /// SIGKILL was sent to everything that was found.
    Killing {
        until: Instant,
    },
}

impl Ending {
    /// `grace` begins with the first look. Without `tell` the leader is reaped here.
    pub(super) fn new(tree: Tree, grace: Duration, tell: Option<Tell>) -> Self {
        Self {
            tree,
            phase: Phase::Begin { grace },
            killed: HashSet::new(),
            is_growing: false,
            reap: tell.is_none(),
            tell: Vec::from_iter(tell),
        }
    }

    pub(super) fn leader(&self) -> Pid {
        self.tree.leader()
    }

    /// Lets it end within `grace` from now at the latest.
    pub(super) fn hasten(&mut self, grace: Duration) {
        match &mut self.phase {
            Phase::Begin { grace: until_now } => *until_now = grace.min(*until_now),
            Phase::Grace { until } => *until = (Instant::now() + grace).min(*until),
            Phase::Killing { .. } => {}
        }
    }

    /// Has its end told to one more; without `tell`, has the leader reaped here.
    pub(super) fn also_tell(&mut self, tell: Option<Tell>) {
        self.reap |= tell.is_none();
        self.tell.extend(tell);
    }

    /// Does what is due; breaks when the tree has ended, and tells so.
    pub(super) fn look(&mut self, table: &ProcessTable, leaders: &HashSet<Pid>) -> ControlFlow<()> {
        let members = self.tree.living_members(table, leaders);
        let now = Instant::now();
        self.is_growing = false;
        match self.phase {
            Phase::Begin { grace } if !grace.is_zero() => {
                self.terminate(&members);
                let until = now + grace;
                self.phase = Phase::Grace { until };
                return ControlFlow::Continue(());
            }
            Phase::Grace { until } if now < until && !members.is_empty() => {
                return ControlFlow::Continue(());
            }
            Phase::Killing { until } if now >= until || members.is_empty() => {}
            Phase::Grace { .. } if members.is_empty() => {}
            phase => {
                if !matches!(phase, Phase::Killing { .. }) {
                    let until = now + KILL_TIMEOUT;
                    self.phase = Phase::Killing { until };
                }
                self.kill(&members);
                return ControlFlow::Continue(());
            }
        }
        let survivors: Survivors = members.iter().map(|entry| entry.pid).collect();
        for tell in self.tell.drain(..) {
            let _ = tell.send(Some(survivors.clone()));
        }
        ControlFlow::Break(())
    }

    /// Whether there is nothing left to do: the leader was reaped, or someone else does it.
    pub(super) fn is_reaped(&self, leaders: &Leaders) -> bool {
        !self.reap || !matches!(leaders.wait_for_leader(self.tree.leader()), Ok(None))
    }

    /// Reaches the members that are not in the group. What is born later gets no signal: it may be what a
    /// member cleans up with.
    fn terminate(&self, members: &[Entry]) {
        for entry in members.iter().filter(|entry| !self.is_in_group(entry)) {
            let signals = first_signals(&self.tree).iter();
            signals.for_each(|&signal| send(entry, signal));
        }
    }

    /// Kills members. What they gave birth to meanwhile is found by the next look, which comes at once
    /// as long as there is any: one table of processes is for all trees that end.
    fn kill(&mut self, members: &[Entry]) {
        if let Some(cgroup) = self.tree.cgroup() {
            cgroup.kill();
        }
        let _ = kill_process_group(self.tree.leader(), Signal::KILL);
        for entry in members {
            self.is_growing |= self.killed.insert((entry.pid, entry.started));
            send(entry, Signal::KILL);
        }
    }

    fn is_in_group(&self, entry: &Entry) -> bool {
        entry.group == self.tree.leader().as_raw_nonzero().get()
    }
}

/// What a tree gets that is to end.
pub(super) fn first_signals(tree: &Tree) -> &'static [Signal] {
    if tree.has_terminal() {
        HANG_UP
    } else {
        TERMINATE
    }
}

/// Signals exactly the process that was seen, whatever its number names now.
fn send(entry: &Entry, signal: Signal) {
    let Ok(pidfd) = pidfd_open(entry.pid, PidfdFlags::empty()) else {
        return;
    };
    // The descriptor holds on to one process. It is the right one if that still has this start time.
    if Entry::read(entry.pid).is_some_and(|now| now.started == entry.started) {
        let _ = pidfd_send_signal(&pidfd, signal);
    }
}
