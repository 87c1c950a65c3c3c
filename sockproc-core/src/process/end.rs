//! The thread that ends trees, those of all runs of a server: however many end at once, each look at
//! /proc is one.

use std::io;
use std::iter;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::sync::watch;

use super::Leaders;
use super::ending::{Ending, Survivors, Tell, first_signals};
use super::process_table::ProcessTable;
use super::tree::Tree;

/// The time between the first two looks at a tree that is ending; it doubles from look to look …
const FIRST_LOOK: Duration = Duration::from_millis(1);

/// … up to this.
const LAST_LOOK: Duration = Duration::from_millis(32);

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
        tell: Option<Tell>,
    },
    /// The grace period of this leader's tree is over, if it has one.
    Hasten(Pid),
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
    fn begin(&self, mut tree: Tree, grace: Duration, tell: Option<Tell>) {
        tree.remember_descendants();
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
    let known = endings.iter_mut().find(|ending| ending.leader() == leader);
    if let Some(ending) = known {
        ending.hasten(new_grace);
        if let Order::End { tell, .. } = order {
            ending.also_tell(tell);
        }
    } else if let Order::End { tree, grace, tell } = order {
        endings.push(Ending::new(tree, grace, tell));
    }
}
