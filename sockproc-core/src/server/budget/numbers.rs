//! Descriptor numbers that no one has taken yet.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The free numbers of this process. Clones tell of the same ones.
#[derive(Clone)]
pub(crate) struct Numbers {
    fds: Arc<Semaphore>,
    /// What is passed to commands is not counted in `fds`.
    passed: Arc<Semaphore>,
    most_passed: usize,
}

/// Some numbers that no one else is given until this is dropped.
pub(crate) struct Taken(Option<OwnedSemaphorePermit>);

impl Numbers {
    /// To be called when nothing has been passed yet.
    pub(super) fn new(fds: &Arc<Semaphore>, passed: &Arc<Semaphore>) -> Self {
        Self {
            fds: fds.clone(),
            passed: passed.clone(),
            most_passed: passed.available_permits(),
        }
    }

    /// How many there are at this moment.
    pub(crate) fn free(&self) -> usize {
        let passed = self
            .most_passed
            .saturating_sub(self.passed.available_permits());
        self.fds.available_permits().saturating_sub(passed)
    }

    /// Takes at most `most` of them, and leaves others as many; perhaps none.
    pub(crate) fn take(&self, most: usize) -> Taken {
        let count = u32::try_from((self.free() / 2).min(most)).unwrap_or(0);
        Taken(self.fds.clone().try_acquire_many_owned(count).ok())
    }
}

impl Taken {
    pub(crate) fn count(&self) -> usize {
        self.0.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }
}
