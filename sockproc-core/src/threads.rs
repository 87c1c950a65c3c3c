//! Threads for work that may hang in the kernel. One that hangs stops its own work only: another takes
//! its place.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Clones share the threads, which end with the last of them.
#[derive(Debug, Clone)]
pub(crate) struct Threads(Arc<Owner>);

/// Tells the threads of its end.
#[derive(Debug)]
struct Owner(Arc<Queue>);

#[derive(Debug)]
struct Queue {
    name: &'static str,
    /// This many jobs may hang before others wait for them.
    most: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
    is_over: bool,
}

/// What may hang, and what is done with its result.
type Job = Box<dyn FnOnce() -> Box<dyn FnOnce()> + Send>;

impl Threads {
    /// At most `most` threads of this name. They are started as they are needed, the first one now.
    ///
    /// # Errors
    /// The kernel has no thread.
    pub(crate) fn start(name: &'static str, most: usize) -> io::Result<Self> {
        let queue = Arc::new(Queue {
            name,
            most,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        queue.add_thread()?;
        Ok(Self(Arc::new(Owner(queue))))
    }

    /// Has a thread do `job`, and `done` with what it returns. If the kernel has no thread more, it waits
    /// for one of those there are.
    pub(crate) fn run<T: 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
        done: impl FnOnce(T) + Send + 'static,
    ) {
        let queue = &self.0.0;
        let mut state = queue.lock();
        state.jobs.push_back(Box::new(move || {
            let result = job();
            Box::new(move || done(result))
        }));
        let is_short = state.jobs.len() > state.idle && state.threads < queue.most;
        drop(state);
        queue.changed.notify_one();
        if is_short {
            let _ = queue.add_thread();
        }
    }
}

impl Queue {
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
                drop(state);
                let done = job();
                // Who is told may have the next job at once, and this thread is free for it.
                self.lock().idle += 1;
                done();
                state = self.lock();
                state.idle -= 1;
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
        let threads = Threads::start("test", 16).unwrap();
        let (release, hang) = channel::<()>();
        let hang = Arc::new(Mutex::new(hang));
        for _ in 0..8 {
            let hang = hang.clone();
            threads.run(move || hang.lock().unwrap().recv().is_ok(), drop);
        }
        let (tell, told) = channel();
        threads.run(|| 7, move |seven| tell.send(seven).unwrap());
        assert_eq!(told.recv(), Ok(7));
        drop(release);
    }

    #[test]
    fn threads_are_used_again() {
        let threads = Threads::start("test", 16).unwrap();
        let (tell, told) = channel();
        for _ in 0..1000 {
            let tell = tell.clone();
            threads.run(|| (), move |()| tell.send(()).unwrap());
            told.recv().unwrap();
        }
        // The first one may have been late for the first job.
        assert!(threads.0.0.lock().threads <= 2);
    }
}
