//! The end of a tree: SIGTERM, a grace period until the tree is empty, SIGKILL, and a look at
//! whether that was true.
//!
//! One thread does this for all runs of a server: however many end at once, each look at /proc is
//! one.

use std::collections::HashSet;
use std::io;
use std::iter;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};
use tokio::sync::watch;

use super::Leaders;
use super::process_table::{Entry, ProcessTable};
use super::tree::Tree;

/// The time between the first two looks at a tree that is ending; it doubles from look to look …
const FIRST_LOOK: Duration = Duration::from_millis(1);

/// … up to this.
const LAST_LOOK: Duration = Duration::from_millis(32);

/// A member that lives on for this long after SIGKILL survives: the kernel or another user holds it.
const KILL_TIMEOUT: Duration = Duration::from_secs(1);

/// A stopped process would sleep through SIGTERM alone.
const TERMINATE: &[Signal] = &[Signal::TERM, Signal::CONT];

/// What a session gets that loses its terminal. A shell with job control ignores SIGTERM.
const HANG_UP: &[Signal] = &[Signal::HUP, Signal::CONT];

/// What ends trees. Its thread ends when the last clone is dropped and the last tree has ended.
#[derive(Debug, Clone)]
pub(crate) struct Ender {
    orders: Sender<Order>,
    leaders: Arc<Leaders>,
    /// The grace period of runs that are dropped.
    grace: Duration,
}

#[derive(Debug)]
enum Order {
    /// A tree is to be ended.
    End {
        tree: Tree,
        grace: Duration,
        /// Told of the end. If there is no one to tell, the leader is reaped here.
        tell: Option<watch::Sender<Option<Survivors>>>,
    },
    /// The grace period of this leader's tree is over, if it has one.
    Hasten(Pid),
}

/// Members that live on although they got SIGKILL, as far as this process can see.
pub(crate) type Survivors = Vec<Pid>;

/// A tree on its way to its end.
#[derive(Debug)]
struct Ending {
    tree: Tree,
    phase: Phase,
    /// What has got SIGKILL, each with its start time.
    killed: HashSet<(Pid, u64)>,
    /// Whether the last look found a member that had not got SIGKILL yet.
    is_growing: bool,
    tell: Vec<watch::Sender<Option<Survivors>>>,
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

impl Ender {
    /// Starts the thread. Runs that are dropped have `grace` to end.
    ///
    /// # Errors
    /// The kernel has no thread.
    pub(crate) fn start(grace: Duration) -> io::Result<Self> {
        let (orders, incoming) = channel();
        let leaders = Arc::new(Leaders::default());
        let theirs = leaders.clone();
        thread::Builder::new()
            .name("sockproc-end".into())
            .spawn(move || end_all(&incoming, &theirs))?;
        Ok(Self {
            orders,
            leaders,
            grace,
        })
    }

    /// The registry that tells leaders from orphans.
    pub(crate) fn leaders(&self) -> &Arc<Leaders> {
        &self.leaders
    }

    /// Ends `tree`: SIGTERM and SIGCONT to all of it, `grace` for it to become empty, SIGKILL. Without
    /// a grace period SIGKILL is the only signal. The receiver is told of the end.
    ///
    /// The leader must not be reaped before that: its zombie pins the number of the group.
    pub(super) fn end(&self, tree: Tree, grace: Duration) -> watch::Receiver<Option<Survivors>> {
        let (tell, told) = watch::channel(None);
        self.begin(tree, grace, Some(tell));
        told
    }

    /// Kills at once what [`end`](Self::end) still leaves time to.
    pub(super) fn hasten(&self, leader: Pid) {
        let _ = kill_process_group(leader, Signal::KILL);
        let _ = self.orders.send(Order::Hasten(leader));
    }

    /// Ends `tree` and reaps its leader, in the background.
    pub(super) fn end_and_reap(&self, tree: Tree) {
        self.begin(tree, self.grace, None);
    }

    /// The group gets its signals here and now: a command that is to be ended goes on no longer than it
    /// must. One call reaches all of the group, so that no member can fork away from it.
    fn begin(&self, tree: Tree, grace: Duration, tell: Option<watch::Sender<Option<Survivors>>>) {
        let signals: &[Signal] = match grace {
            Duration::ZERO => &[Signal::KILL],
            _ => first_signals(&tree),
        };
        for &signal in signals {
            let _ = kill_process_group(tree.leader(), signal);
        }
        let _ = self.orders.send(Order::End { tree, grace, tell });
    }
}

/// Takes trees in and looks at all of them until each has ended.
fn end_all(incoming: &Receiver<Order>, leaders: &Leaders) {
    let mut endings: Vec<Ending> = Vec::new();
    let mut pause = FIRST_LOOK;
    loop {
        let received = if endings.is_empty() {
            incoming.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            incoming.recv_timeout(pause)
        };
        match received {
            Ok(first) => {
                for order in iter::once(first).chain(incoming.try_iter()) {
                    take_in(&mut endings, order);
                }
                pause = FIRST_LOOK;
            }
            Err(RecvTimeoutError::Timeout) => pause = longer(pause),
            Err(RecvTimeoutError::Disconnected) if endings.is_empty() => return,
            Err(RecvTimeoutError::Disconnected) => {
                // With no sender left the call above returns at once.
                thread::sleep(pause);
                pause = longer(pause);
            }
        }
        let (table, all) = (ProcessTable::read(), leaders.all());
        endings.retain_mut(|ending| {
            ending.look(&table, &all).is_continue() || !ending.is_reaped(leaders)
        });
        if endings.iter().any(|ending| ending.is_growing) {
            pause = Duration::ZERO;
        }
    }
}

fn longer(pause: Duration) -> Duration {
    (pause * 2).clamp(FIRST_LOOK, LAST_LOOK)
}

/// Adds a tree, or changes how one that is ending already ends: the earlier deadline counts.
fn take_in(endings: &mut Vec<Ending>, order: Order) {
    let (leader, new_grace) = match &order {
        Order::End { tree, grace, .. } => (tree.leader(), *grace),
        Order::Hasten(leader) => (*leader, Duration::ZERO),
    };
    let known = endings
        .iter_mut()
        .find(|ending| ending.tree.leader() == leader);
    if let Some(ending) = known {
        match &mut ending.phase {
            Phase::Begin { grace } => *grace = new_grace.min(*grace),
            Phase::Grace { until } => *until = (Instant::now() + new_grace).min(*until),
            Phase::Killing { .. } => {}
        }
        if let Order::End { tell, .. } = order {
            ending.reap |= tell.is_none();
            ending.tell.extend(tell);
        }
    } else if let Order::End { tree, grace, tell } = order {
        endings.push(Ending {
            tree,
            phase: Phase::Begin { grace },
            killed: HashSet::new(),
            is_growing: false,
            reap: tell.is_none(),
            tell: Vec::from_iter(tell),
        });
    }
}

impl Ending {
    /// Does what is due; breaks when the tree has ended, and tells so.
    fn look(&mut self, table: &ProcessTable, leaders: &HashSet<Pid>) -> ControlFlow<()> {
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
    fn is_reaped(&self, leaders: &Leaders) -> bool {
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
fn first_signals(tree: &Tree) -> &'static [Signal] {
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
