//! Threads that read and write the spill file, and do nothing else: a disk that hangs stops those
//! who spill, and no spawn, no socket's removal and no other run.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// As many reads and writes at a time. More at once are no faster, and what waits for a disk that
/// hangs must not pile up in memory.
const MAX_THREADS: usize = 4;

/// They call the kernel with buffers that live elsewhere.
const STACK_LEN: usize = 128 * 1024;

type Job = Box<dyn FnOnce() + Send>;

/// The threads, started when they are first needed; they end when this is dropped.
pub(crate) struct Disk {
    turns: Arc<Semaphore>,
    queue: Arc<Queue>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    /// There is a job, or no more will come.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// A job for later.
    delayed: Option<(Instant, Job)>,
    threads: usize,
    has_ended: bool,
}

/// The right to one read or write.
pub(crate) struct Turn<'a> {
    disk: &'a Disk,
    permit: OwnedSemaphorePermit,
}

impl Disk {
    pub(crate) fn new() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(MAX_THREADS)),
            queue: Arc::default(),
        }
    }

    /// Waits until a thread has time.
    ///
    /// # Errors
    /// There is no thread, and the kernel starts none.
    pub(crate) async fn turn(&self) -> io::Result<Turn<'_>> {
        let permit = self.turns.clone().acquire_owned().await;
        let permit = permit.map_err(io::Error::other)?;
        self.start_thread()?;
        Ok(Turn { disk: self, permit })
    }

    /// Has `job` done at some time by a thread that there is already. If there is no thread, nothing was
    /// written yet, and it is done here.
    pub(crate) fn later(&self, job: impl FnOnce() + Send + 'static) {
        let mut state = self.queue.lock();
        if state.threads == 0 {
            drop(state);
            return job();
        }
        state.jobs.push_back(Box::new(job));
        drop(state);
        self.queue.changed.notify_one();
    }

    /// Has `job` done in a while, by a thread that there is then. It replaces another one that waits in
    /// this way.
    pub(crate) fn in_a_while(&self, delay: Duration, job: impl FnOnce() + Send + 'static) {
        self.queue.lock().delayed = Some((Instant::now() + delay, Box::new(job)));
        self.queue.changed.notify_one();
    }

    /// Starts a thread if all may be busy.
    fn start_thread(&self) -> io::Result<()> {
        let mut state = self.queue.lock();
        if state.threads >= MAX_THREADS - self.turns.available_permits() {
            return Ok(());
        }
        let queue = self.queue.clone();
        let thread = thread::Builder::new()
            .name("sockproc-disk".to_owned())
            .stack_size(STACK_LEN)
            .spawn(move || queue.work());
        match thread {
            Ok(_) => state.threads += 1,
            // Those that there are do it one after another.
            Err(_) if state.threads > 0 => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.queue.lock().has_ended = true;
        self.queue.changed.notify_all();
    }
}

impl Queue {
    /// Does what comes, until all is done and no more will come.
    fn work(&self) {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            if let Some(job) = state.next(now) {
                drop(state);
                // Whoever waits for it is told if it panics; the thread goes on.
                let _ = catch_unwind(AssertUnwindSafe(job));
                state = self.lock();
            } else if state.has_ended {
                return;
            } else if let Some((due, _)) = &state.delayed {
                let left = *due - now;
                let changed = self.changed.wait_timeout(state, left);
                state = changed.unwrap_or_else(PoisonError::into_inner).0;
            } else {
                let changed = self.changed.wait(state);
                state = changed.unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// Has `work` done by one of the threads. If the future is dropped, it is done all the same.
    ///
    /// # Errors
    /// `work` has panicked.
    pub(crate) async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let (done, result) = oneshot::channel();
        let Self { disk, permit } = self;
        disk.later(move || {
            let result = work();
            drop(permit);
            let _ = done.send(result);
        });
        result.await.map_err(io::Error::other)
    }
}

impl State {
    fn next(&mut self, now: Instant) -> Option<Job> {
        let job = self.jobs.pop_front();
        job.or_else(|| Some(self.delayed.take_if(|(due, _)| *due <= now)?.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    #[expect(clippy::await_holding_lock, reason = "no other task wants it")]
    async fn what_hangs_takes_only_so_many_threads_and_ends_with_them() {
        let disk = Disk::new();
        let gate = Arc::new(Mutex::new(()));
        let hung = gate.lock().unwrap();
        let mut waiting = Vec::new();
        for _ in 0..MAX_THREADS {
            let (gate, turn) = (gate.clone(), disk.turn().await.unwrap());
            let mut result = Box::pin(turn.run(move || drop(gate.lock().unwrap())));
            tokio::select! {
                biased;
                _ = &mut result => panic!("the gate is shut"),
                () = async {} => {}
            }
            waiting.push(result);
        }
        assert_eq!(disk.queue.lock().threads, MAX_THREADS);
        let more = tokio::time::timeout(Duration::from_millis(50), disk.turn());
        assert!(more.await.is_err());
        drop(hung);
        for result in waiting {
            result.await.unwrap();
        }
        assert_eq!(disk.turn().await.unwrap().run(|| 7).await.unwrap(), 7);
        assert_eq!(disk.queue.lock().threads, MAX_THREADS);
    }
}
