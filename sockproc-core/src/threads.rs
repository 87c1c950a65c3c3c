//! Threads for work that may hang in the kernel. One that hangs stops its own work only: another takes
//! its place.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Where no job begins or ends for so long, all threads hang.
const STUCK: Duration = Duration::from_millis(10);

/// Clones share the threads, which end with the last of them.
#[derive(Debug, Clone)]
pub(crate) struct Threads(Arc<Owner>);

/// Tells the threads of its end.
#[derive(Debug)]
struct Owner(Arc<Queue>);

#[derive(Debug)]
struct Queue {
    name: &'static str,
    /// So many there may be while jobs come to an end, …
    usual: usize,
    /// … and so many if they hang, before others wait for them.
    most: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
    /// When a job was last begun or ended.
    progress: Option<Instant>,
    is_over: bool,
}

type Job = Box<dyn FnOnce() + Send>;

impl Threads {
    /// Threads of this name: `usual` at most, and up to `most` if jobs hang in them. They are started as
    /// they are needed, the first one now.
    ///
    /// # Errors
    /// The kernel has no thread.
    pub(crate) fn start(name: &'static str, usual: usize, most: usize) -> io::Result<Self> {
        let queue = Arc::new(Queue {
            name,
            usual,
            most,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        queue.add_thread()?;
        Ok(Self(Arc::new(Owner(queue))))
    }

    /// Has a thread do `job`. If the kernel has no thread more, it waits for one of those there are.
    pub(crate) fn run(&self, job: impl FnOnce() + Send + 'static) {
        let queue = &self.0.0;
        let mut state = queue.lock();
        state.jobs.push_back(Box::new(job));
        let is_short = state.jobs.len() > state.idle && state.threads < queue.limit(&state);
        drop(state);
        queue.changed.notify_one();
        if is_short {
            let _ = queue.add_thread();
        }
    }
}

impl Queue {
    fn limit(&self, state: &State) -> usize {
        let is_stuck = |at: Instant| at.elapsed() >= STUCK;
        if state.progress.is_some_and(is_stuck) {
            self.most
        } else {
            self.usual
        }
    }

    fn add_thread(self: &Arc<Self>) -> io::Result<()> {
        let queue = self.clone();
        self.lock().threads += 1;
        let started = thread::Builder::new()
            .name(self.name.into())
            .spawn(move || queue.work());
        if started.is_err() {
            self.lock().threads -= 1;
        }
        started.map(drop)
    }

    fn work(&self) {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                state.progress = Some(Instant::now());
                drop(state);
                job();
                state = self.lock();
                state.progress = Some(Instant::now());
            } else if state.is_over {
                return;
            } else {
                state.idle += 1;
                let woken = self.changed.wait(state);
                state = woken.unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.lock().is_over = true;
        self.0.changed.notify_all();
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn jobs_that_hang_hold_up_no_other() {
        let threads = Threads::start("test", 2, 16).unwrap();
        let (release, hang) = channel::<()>();
        let hang = Arc::new(Mutex::new(hang));
        for _ in 0..8 {
            let hang = hang.clone();
            threads.run(move || {
                let _ = hang.lock().unwrap().recv();
            });
        }
        // Each of them gets a thread once those before it are seen to hang.
        let (tell, told) = channel();
        while told.recv_timeout(STUCK).is_err() {
            let tell = tell.clone();
            threads.run(move || tell.send(()).unwrap());
        }
        drop(release);
    }

    #[test]
    fn threads_are_used_again() {
        let threads = Threads::start("test", 2, 16).unwrap();
        let (tell, told) = channel();
        for _ in 0..100 {
            let tell = tell.clone();
            threads.run(move || tell.send(()).unwrap());
            told.recv().unwrap();
        }
        // Fewer than jobs, however late they are on a busy machine.
        assert!(threads.0.0.lock().threads < 10);
    }
}
