//! Keeps the death of the server from being taken for the end of input.
//!
//! When a server is killed, its commands are killed too (`PR_SET_PDEATHSIG`): but only when the thread
//! that started them has ended, and the last thread to end closes the descriptors before that. If it
//! is the same one, commands see the end of their stdin first, and have time to go on. So while any
//! stdin has not been sent whole, another process shares our descriptors, and closes them after the
//! server's end. It blocks all signals, and ends soon after it is needed no more.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use rustix::process::{PidfdFlags, getpid, pidfd_open};

use super::Leaders;
use super::sys::share_descriptors;
use crate::threads::Threads;

/// The name of the thread and of the process. It is not the server's, so that `pkill -9 sockproc` ends
/// the server alone.
const NAME: &str = "stdin-guard";

/// The time between two tries where the kernel has no room for another process.
const PAUSE: Duration = Duration::from_millis(100);

/// Clones share the process.
#[derive(Debug, Clone)]
pub(crate) struct StdinGuard(Arc<Guard>);

/// As long as this lives, the server's descriptors outlive its death by a moment.
#[derive(Debug)]
pub(crate) struct Held(Arc<Guard>);

#[derive(Debug)]
struct Guard {
    leaders: Arc<Leaders>,
    /// How many stdins have not been sent whole.
    held: AtomicUsize,
    /// Whether there is, or soon will be, such a process.
    is_kept_up: AtomicBool,
    /// The one that waits for the process.
    thread: OnceLock<Threads>,
}

impl StdinGuard {
    /// Starts nothing yet. The process will not be taken for an orphan, as it is in the registry.
    pub(super) fn new(leaders: Arc<Leaders>) -> Self {
        Self(Arc::new(Guard {
            leaders,
            held: AtomicUsize::new(0),
            is_kept_up: AtomicBool::new(false),
            thread: OnceLock::new(),
        }))
    }

    /// Says that a command's stdin has not been sent whole.
    pub(crate) fn hold(&self) -> Held {
        let shared = &self.0;
        let is_first = shared.held.fetch_add(1, SeqCst) == 0;
        if is_first && !shared.is_kept_up.swap(true, SeqCst) {
            let job = shared.clone();
            match shared.thread() {
                Ok(thread) => thread.run(move || job.keep_up(), drop),
                Err(error) => {
                    shared.is_kept_up.store(false, SeqCst);
                    tracing::warn!(%error, "cannot guard stdin");
                }
            }
        }
        Held(shared.clone())
    }
}

impl Guard {
    fn thread(&self) -> io::Result<&Threads> {
        match self.thread.get() {
            Some(thread) => Ok(thread),
            None => Threads::start(NAME, 1).map(|thread| self.thread.get_or_init(|| thread)),
        }
    }

    /// Sees to it that there is such a process while one is needed.
    fn keep_up(&self) {
        loop {
            while self.held.load(SeqCst) > 0 {
                if let Err(error) = self.share() {
                    tracing::debug!(%error, "cannot guard stdin");
                    thread::sleep(PAUSE);
                }
            }
            self.is_kept_up.store(false, SeqCst);
            // Only this call can see a stdin that came between the two looks.
            if self.held.load(SeqCst) == 0 || self.is_kept_up.swap(true, SeqCst) {
                return;
            }
        }
    }

    /// Starts the process, and waits for its end.
    fn share(&self) -> io::Result<()> {
        let server = pidfd_open(getpid(), PidfdFlags::empty())?;
        let newborn = Arc::default();
        let share = |newborn: &_| {
            share_descriptors(server.as_raw_fd(), &self.held, newborn).map(|pid| (pid, ()))
        };
        let (pid, ()) = self.leaders.add_leader(&newborn, share)?;
        // It has left our memory, and is a zombie in a moment.
        while let Ok(None) = self.leaders.wait_for_leader(pid) {
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, SeqCst);
    }
}
