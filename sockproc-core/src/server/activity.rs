//! How much a run writes, and how long it is silent.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Streams that others still hold are complete after this much silence.
const SILENCE: Duration = Duration::from_millis(100);

/// What the two streams of a run have in common.
pub(crate) struct Activity {
    begun: Instant,
    /// Reads that brought something.
    reads: AtomicU64,
    /// When the last of them was, in microseconds of [`reading_time`](Self::reading_time).
    last_read: AtomicU64,
    /// Streams that are making room, so that silence means nothing.
    waiting: AtomicU64,
    /// When the first of these began to, and how long there was one before, in microseconds.
    waiting_since: AtomicU64,
    waited: AtomicU64,
    resumed: Notify,
}

impl Activity {
    pub(crate) fn new() -> Self {
        Self {
            begun: Instant::now(),
            reads: AtomicU64::new(0),
            last_read: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            waiting_since: AtomicU64::new(0),
            waited: AtomicU64::new(0),
            resumed: Notify::new(),
        }
    }

    /// Resolves once nothing has come for `longest`, counted only while both streams are being read.
    pub(crate) async fn idle(&self, longest: Duration) {
        loop {
            let resumed = self.resumed.notified();
            let last_read = Duration::from_micros(self.last_read.load(Relaxed));
            let silent = self.reading_time().saturating_sub(last_read);
            if self.waiting.load(Relaxed) > 0 {
                resumed.await;
            } else if silent >= longest {
                return;
            } else {
                tokio::time::sleep(longest.saturating_sub(silent)).await;
            }
        }
    }

    /// Resolves after [`SILENCE`], or after `longest`; both are counted only while both streams are
    /// being read.
    pub(super) async fn silence(&self, longest: Duration) {
        let begin = self.reading_time();
        loop {
            let resumed = self.resumed.notified();
            let (reads, waited) = (self.reads.load(Relaxed), self.waited.load(Relaxed));
            let left = longest.saturating_sub(self.reading_time().saturating_sub(begin));
            tokio::time::sleep(SILENCE.min(left)).await;
            let was_read = waited == self.waited.load(Relaxed);
            let silent = was_read && reads == self.reads.load(Relaxed);
            let is_over = self.reading_time().saturating_sub(begin) >= longest;
            if self.waiting.load(Relaxed) > 0 {
                resumed.await;
            } else if silent || is_over {
                return;
            }
        }
    }

    /// How long both streams have been read, not counting while one was making room.
    fn reading_time(&self) -> Duration {
        let now = self.now();
        let waiting = match self.waiting.load(Relaxed) {
            0 => 0,
            _ => now.saturating_sub(self.waiting_since.load(Relaxed)),
        };
        Duration::from_micros(now.saturating_sub(self.waited.load(Relaxed) + waiting))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Says that a stream has been read, and makes room for more as long as the result lives.
    pub(super) fn make_room(&self) -> MakingRoom<'_> {
        let read = self.reading_time().as_micros();
        self.reads.fetch_add(1, Relaxed);
        self.last_read
            .store(u64::try_from(read).unwrap_or(u64::MAX), Relaxed);
        if self.waiting.fetch_add(1, Relaxed) == 0 {
            self.waiting_since.store(self.now(), Relaxed);
        }
        MakingRoom(self)
    }

    fn end_to_wait(&self) {
        if self.waiting.fetch_sub(1, Relaxed) == 1 {
            let since = self.waiting_since.load(Relaxed);
            self.waited
                .fetch_add(self.now().saturating_sub(since), Relaxed);
            self.resumed.notify_waiters();
        }
    }
}

/// A stream makes room, as long as this lives.
pub(super) struct MakingRoom<'a>(&'a Activity);

impl Drop for MakingRoom<'_> {
    fn drop(&mut self) {
        self.0.end_to_wait();
    }
}
