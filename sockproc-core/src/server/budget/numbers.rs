//! Descriptor numbers that no one has taken yet.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// As many may be taken of those that are set apart for the moment of a start.
const SPARE: usize = 6;

/// The free numbers of this process. Clones tell of the same ones.
#[derive(Clone)]
pub(crate) struct Numbers {
    fds: Arc<Semaphore>,
    /// What is passed to commands is not counted in `fds`.
    passed: Arc<Semaphore>,
    most_passed: usize,
    spare: Arc<Semaphore>,
}

/// Some numbers that no one else is given until this is dropped.
pub(crate) struct Taken {
    count: usize,
    _permit: OwnedSemaphorePermit,
}

impl Numbers {
    /// To be called when nothing has been passed yet.
    pub(super) fn new(fds: &Arc<Semaphore>, passed: &Arc<Semaphore>) -> Self {
        Self {
            fds: fds.clone(),
            passed: passed.clone(),
            most_passed: passed.available_permits(),
            spare: Arc::new(Semaphore::new(1)),
        }
    }

    /// How many there are at this moment.
    pub(crate) fn free(&self) -> usize {
        let passed = self.most_passed - self.passed.available_permits();
        self.fds.available_permits().saturating_sub(passed)
    }

    /// Whether some could be taken.
    pub(crate) fn are_there(&self) -> bool {
        self.free() / 2 > SPARE || self.spare.available_permits() > 0
    }

    /// Takes at most `most` of them, and leaves others as many. Where connections and runs have them all,
    /// one at a time is given a few of those that are set apart.
    pub(crate) fn take(&self, most: usize) -> Option<Taken> {
        let count = (self.free() / 2).min(most);
        let (numbers, count, permits) = match count > SPARE {
            true => (&self.fds, count, u32::try_from(count).ok()?),
            false => (&self.spare, SPARE, 1),
        };
        Some(Taken {
            count,
            _permit: numbers.clone().try_acquire_many_owned(permits).ok()?,
        })
    }
}

impl Taken {
    pub(crate) fn count(&self) -> usize {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_left_as_many_and_one_at_a_time_gets_some_where_there_are_none() {
        let fds = Arc::new(Semaphore::new(41));
        let numbers = Numbers::new(&fds, &Arc::new(Semaphore::new(16)));
        let taken = [(); 4].map(|()| numbers.take(20));
        let counts = [20, 10, SPARE].map(Some);
        let count = |taken: &Option<Taken>| taken.as_ref().map(Taken::count);
        assert_eq!(taken[..3].iter().map(count).collect::<Vec<_>>(), counts);
        assert!(taken[3].is_none());
        drop(taken);
        assert_eq!(numbers.free(), 41);
    }
}
