//! What one future of a run's task tells another.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::Poll;

/// Says that there is something to do for a future of the same task that is polled later in the same step.
///
/// A `Notify` would wake the task, which runs already: then it is polled once more for nothing, and another
/// thread is woken to do so.
#[derive(Debug, Default)]
pub(super) struct Hint(AtomicBool);

impl Hint {
    pub(super) fn give(&self) {
        self.0.store(true, Relaxed);
    }

    /// Resolves once it was given. To be polled behind all that may give it.
    pub(super) async fn given(&self) {
        poll_fn(|_| match self.0.swap(false, Relaxed) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }
}
