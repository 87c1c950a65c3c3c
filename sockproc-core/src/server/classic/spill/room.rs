//! Waiting for room in the spill file while all runs together fill it.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::limits::Allowance;
use crate::server::budget::Budget;
use crate::server::budget::eviction::MIN_STALLED;
use crate::server::shutdown::Shutdown;

/// How long a run waits in vain: until a client that has just stopped reading would have to give way.
const PATIENCE: Duration = MIN_STALLED.saturating_add(Duration::from_secs(1));

/// Time between two looks for a client that reads nothing.
const LOOK: Duration = Duration::from_millis(50);

/// What can be done for a run whose output finds the spill file full.
pub(crate) struct Room<'a> {
    pub(crate) allowance: Allowance,
    pub(crate) budget: &'a Budget,
    pub(crate) shutdown: &'a Shutdown,
}

impl Room<'_> {
    /// Waits until others have given room back; the client that has read nothing for longest has to,
    /// if it has for long enough. False if that was in vain, and the run is to be ended.
    pub(crate) async fn wait(&self) -> bool {
        let _held_up = self.allowance.hold_up();
        tokio::select! {
            biased;
            () = self.shutdown.killing() => false,
            came = self.wait_in_turn() => came,
        }
    }

    /// One run gives up at a time: what it had helps the next.
    async fn wait_in_turn(&self) -> bool {
        let spill = self.allowance.spill();
        let _turn = spill.turn_to_wait().await;
        let mut deadline = Instant::now() + PATIENCE;
        while !spill.has_room() {
            if spill.is_deadlocked() || Instant::now() >= deadline {
                return false;
            }
            // When it has gone, its room is given back.
            self.budget.evict_spill_reader();
            tokio::select! {
                () = spill.given_back() => deadline = Instant::now() + PATIENCE,
                () = sleep(LOOK) => {}
            }
        }
        true
    }
}
