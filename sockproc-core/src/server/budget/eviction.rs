//! Who has to give way where descriptors, or room in the spill file, are short.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::SetOnce;

use super::Budget;
use crate::server::Common;

/// How long a connection may take to send its request before it can be closed in favour of another.
pub(crate) const MIN_WAITING: Duration = Duration::from_millis(500);

/// How long a client may read nothing of its reply, or send nothing of its stdin, before it can be; only
/// when no connection waits for a request.
pub(crate) const MIN_STALLED: Duration = Duration::from_secs(10);

/// How long a client may read nothing of what its run has written, once the leader has exited.
const MIN_ENDED: Duration = Duration::from_secs(60);

/// Connections that wait for their clients, by the moment since which they do.
#[derive(Default)]
pub(super) struct Idle {
    next_id: u64,
    waiting: BTreeMap<Key, Arc<SetOnce<()>>>,
    stalled: BTreeMap<Key, Arc<SetOnce<()>>>,
    held_back: BTreeMap<Key, Arc<SetOnce<()>>>,
    ended: BTreeMap<Key, Arc<SetOnce<()>>>,
    /// As `stalled`, while the spill file holds some of the reply.
    stalled_spill: BTreeMap<Key, Arc<SetOnce<()>>>,
}

type Key = (Instant, u64);

#[derive(Clone, Copy)]
enum WaitsFor {
    Request,
    Reader,
    Stdin,
    SpillReader,
    EndedReader,
}

/// A connection that waits for its client, as long as this lives.
pub(crate) struct IdleGuard<'a> {
    budget: &'a Budget,
    waits_for: WaitsFor,
    key: Key,
    evicted: Arc<SetOnce<()>>,
}

impl Idle {
    fn of(&mut self, waits_for: WaitsFor) -> &mut BTreeMap<Key, Arc<SetOnce<()>>> {
        match waits_for {
            WaitsFor::Request => &mut self.waiting,
            WaitsFor::Reader => &mut self.stalled,
            WaitsFor::Stdin => &mut self.held_back,
            WaitsFor::SpillReader => &mut self.stalled_spill,
            WaitsFor::EndedReader => &mut self.ended,
        }
    }

    /// Tells the longest-idle connection to end, if one has been idle for long enough.
    fn evict_one(&mut self) -> Option<Weak<SetOnce<()>>> {
        let (plain, spill) = (&mut self.stalled, &mut self.stalled_spill);
        let (first, second) = match (plain.first_key_value(), spill.first_key_value()) {
            (Some((a, _)), Some((b, _))) if b < a => (spill, plain),
            _ => (plain, spill),
        };
        evict_longest(&mut self.waiting, MIN_WAITING)
            .or_else(|| evict_longest(first, MIN_STALLED))
            .or_else(|| evict_longest(second, MIN_STALLED))
            .or_else(|| evict_longest(&mut self.held_back, MIN_STALLED))
            .or_else(|| evict_longest(&mut self.ended, MIN_ENDED))
    }
}

/// Tells the connection that has waited for longest to end, if that is at least `least`. What is returned
/// is alive until the connection has begun to.
fn evict_longest(
    connections: &mut BTreeMap<Key, Arc<SetOnce<()>>>,
    least: Duration,
) -> Option<Weak<SetOnce<()>>> {
    let longest = connections.first_entry()?;
    if longest.key().0.elapsed() < least {
        return None;
    }
    let evicted = longest.remove();
    let _ = evicted.set(());
    Some(Arc::downgrade(&evicted))
}

impl Budget {
    /// Says that a connection waits for its client's request, or for the client to close.
    pub(crate) fn waiting(&self) -> IdleGuard<'_> {
        self.idle(WaitsFor::Request)
    }

    /// Says that a connection waits for its client to read.
    pub(crate) fn stalled(&self) -> IdleGuard<'_> {
        self.idle(WaitsFor::Reader)
    }

    /// Says that a run waits for stdin that its client has announced.
    pub(crate) fn held_back(&self) -> IdleGuard<'_> {
        self.idle(WaitsFor::Stdin)
    }

    /// Says the same, while the spill file holds some of the reply.
    pub(crate) fn stalled_with_spill(&self) -> IdleGuard<'_> {
        self.idle(WaitsFor::SpillReader)
    }

    /// Says that a client reads nothing of the output of a run whose leader has exited.
    pub(crate) fn stalled_at_end(&self) -> IdleGuard<'_> {
        self.idle(WaitsFor::EndedReader)
    }

    /// Tells the client that has read nothing of its spilled reply for longest to give way, if it has
    /// had [`MIN_STALLED`].
    pub(crate) fn evict_spill_reader(&self) {
        evict_longest(&mut self.lock().stalled_spill, MIN_STALLED);
    }

    fn idle(&self, waits_for: WaitsFor) -> IdleGuard<'_> {
        let evicted = Arc::new(SetOnce::new());
        let mut idle = self.lock();
        idle.next_id += 1;
        let key = (Instant::now(), idle.next_id);
        idle.of(waits_for).insert(key, evicted.clone());
        IdleGuard {
            budget: self,
            waits_for,
            key,
            evicted,
        }
    }

    /// Closes idle connections one by one, the longest-idle first, until dropped.
    pub(in crate::server) async fn evict_idle(&self) -> ! {
        /// Time for an evicted connection to end before another has to.
        const PAUSE: Duration = Duration::from_millis(5);
        /// It waits that long at most this often.
        const MOST_PAUSES: u32 = 20;
        /// Time between two looks where none has been idle for long enough.
        const LOOK: Duration = Duration::from_millis(50);
        loop {
            let evicted = self.lock().evict_one();
            tokio::time::sleep(if evicted.is_some() { PAUSE } else { LOOK }).await;
            // On a busy machine it may not have had its turn yet.
            for _ in 0..MOST_PAUSES {
                if evicted
                    .as_ref()
                    .is_none_or(|evicted| evicted.strong_count() == 0)
                {
                    break;
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IdleGuard<'_> {
    /// Resolves when this connection has to give way.
    pub(crate) async fn evicted(&self) {
        self.evicted.wait().await;
    }

    /// Resolves when no more is waited for of this client's request: when this connection has to give
    /// way, or the server ends.
    pub(crate) async fn evicted_or_draining(&self, common: &Common) {
        tokio::select! {
            () = self.evicted() => {}
            () = common.shutdown.draining() => {}
        }
    }
}

impl Drop for IdleGuard<'_> {
    fn drop(&mut self) {
        self.budget.lock().of(self.waits_for).remove(&self.key);
    }
}
