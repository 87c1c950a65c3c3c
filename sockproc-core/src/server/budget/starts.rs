//! The commands that are being started: how many may be at once, and what becomes of starts that hang.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// The command's ends of its pipes, open in the server until it is started.
pub(super) const SPAWN_FDS: usize = 3;

/// Where no start comes to an end for so long, all that are as old hang …
const HUNG_START: Duration = Duration::from_millis(20);

/// … and one that is as old as this does in any case.
const LONG_START: Duration = Duration::from_millis(100);

/// Starts that hang in the kernel, on a mount perhaps, leave their permits to others. It is those that
/// wait who see to it: a start that finds room at once sets no timer.
pub(super) struct Starts {
    /// How many commands may be between pipe(2) and execve(2), those that hang apart.
    permits: Semaphore,
    state: Mutex<State>,
}

struct State {
    next_id: u64,
    under_way: BTreeMap<u64, Start>,
    /// When one of them came to its end last.
    ended: Instant,
}

struct Start {
    begun: Instant,
    /// Descriptors that it has taken from all others, in exchange for its permit: it hangs.
    fds: Option<OwnedSemaphorePermit>,
}

/// Room to start a command, until dropped.
pub(crate) struct SpawnPermit<'a> {
    starts: &'a Starts,
    id: u64,
}

impl Starts {
    pub(super) fn new(most: usize) -> Self {
        Self {
            permits: Semaphore::new(most),
            state: Mutex::new(State {
                next_id: 0,
                under_way: BTreeMap::new(),
                ended: Instant::now(),
            }),
        }
    }

    /// Room for one more. Starts that hang are counted with `fds` instead, as far as there are any.
    ///
    /// # Cancel safety
    /// Dropping the future loses its place in the queue.
    pub(super) async fn begin(&self, fds: &Arc<Semaphore>) -> SpawnPermit<'_> {
        let mut acquired = pin!(self.permits.acquire());
        let pass_on = async {
            loop {
                self.pass_on_permits(fds);
                tokio::time::sleep(HUNG_START).await;
            }
        };
        tokio::select! {
            biased;
            // Given back by hand, when the start ends or hangs.
            permit = &mut acquired => permit.expect("never closed").forget(),
            () = pass_on => {}
        }
        let mut state = self.lock();
        let id = state.next_id;
        state.next_id += 1;
        let start = Start {
            begun: Instant::now(),
            fds: None,
        };
        state.under_way.insert(id, start);
        SpawnPermit { starts: self, id }
    }

    /// Gives the permits of starts that hang to those that wait.
    fn pass_on_permits(&self, fds: &Arc<Semaphore>) {
        let mut state = self.lock();
        let is_silent = state.ended.elapsed() >= HUNG_START;
        let least = if is_silent { HUNG_START } else { LONG_START };
        for start in state.under_way.values_mut() {
            if start.fds.is_none() && start.begun.elapsed() >= least {
                start.fds = fds.clone().try_acquire_many_owned(SPAWN_FDS as u32).ok();
                self.permits.add_permits(start.fds.is_some().into());
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for SpawnPermit<'_> {
    fn drop(&mut self) {
        let mut state = self.starts.lock();
        state.ended = Instant::now();
        let start = state.under_way.remove(&self.id);
        if start.is_some_and(|start| start.fds.is_none()) {
            self.starts.permits.add_permits(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn starts_that_hang_leave_their_permits_to_all_who_wait() {
        let (starts, fds) = (Starts::new(2), Arc::new(Semaphore::new(2 * SPAWN_FDS)));
        let hung = (starts.begin(&fds).await, starts.begin(&fds).await);
        let others = (starts.begin(&fds).await, starts.begin(&fds).await);
        assert_eq!(
            (fds.available_permits(), starts.permits.available_permits()),
            (0, 0)
        );
        // These hang, too, but there are no descriptors for more.
        let waiting = tokio::time::timeout(2 * LONG_START, starts.begin(&fds)).await;
        assert!(waiting.is_err());
        drop((hung, others));
        assert_eq!(fds.available_permits(), 2 * SPAWN_FDS);
        assert_eq!(starts.permits.available_permits(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn one_start_that_hangs_is_found_among_others_that_end() {
        let (starts, fds) = (Starts::new(2), Arc::new(Semaphore::new(SPAWN_FDS)));
        let _hung = starts.begin(&fds).await;
        let begin = Instant::now();
        while fds.available_permits() > 0 {
            let (one, other) = tokio::join!(brief(&starts, &fds), brief(&starts, &fds));
            assert_eq!((one, other), ((), ()));
        }
        assert!(begin.elapsed() >= LONG_START - HUNG_START);
        let _both = (starts.begin(&fds).await, starts.begin(&fds).await);
    }

    async fn brief(starts: &Starts, fds: &Arc<Semaphore>) {
        let _permit = starts.begin(fds).await;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
