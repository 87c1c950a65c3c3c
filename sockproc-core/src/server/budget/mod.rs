//! Descriptors are what runs out first: who may open how many, and who has to give way.
//!
//! A connection holds one descriptor, a run four more (pidfd and three pipes). One run's worth is set
//! apart, so that whole requests are answered one by one even when connections hold all the rest.

pub(super) mod eviction;
mod numbers;
pub(crate) mod requests;
pub(crate) mod rlimits;
mod starts;

use std::io;
use std::num::NonZero;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use eviction::Idle;
pub(super) use numbers::{Numbers, Taken};
use requests::Requests;
use rlimits::{open_fds, too_low};
use starts::{SPAWN_FDS, SpawnPermit, Starts};

/// pidfd, stdin, stdout, stderr.
const RUN_FDS: u32 = 4;

/// How many commands may be starting beyond one for each core. More at once start no command sooner,
/// and keep the client that waits for them, an event loop perhaps, from its core for longer.
const SPARE_SPAWNS: usize = 1;

/// Spill file, the socket's directory while it is locked, what guards stdin, and one to look around with.
const SPARE_FDS: usize = 4;

/// The server's descriptors.
pub(crate) struct Budget {
    fds: Arc<Semaphore>,
    /// The run that can always be started.
    last_run: Arc<Semaphore>,
    starts: Starts,
    /// Descriptors that clients have passed to commands which have not been started yet.
    passed: Arc<Semaphore>,
    /// Whole requests that wait for one of these, and how many may.
    queued: AtomicUsize,
    max_queue: usize,
    /// The memory of requests that are not whole yet, or wait for room.
    pub(crate) requests: Requests,
    /// Who can give way, see [`eviction`](super::eviction).
    idle: Mutex<Idle>,
}

/// No more requests may wait.
#[derive(Debug)]
pub(crate) struct QueueFull;

/// A run's descriptors; stdin's goes back as soon as that is closed.
pub(crate) struct RunPermit {
    _permit: OwnedSemaphorePermit,
    stdin: Option<OwnedSemaphorePermit>,
}

impl Budget {
    /// Divides what `limit` allows, less what is open already. At most `max_queue` requests wait for it.
    ///
    /// # Errors
    /// There is no room for a single run.
    pub(crate) fn new(limit: u64, max_queue: usize) -> io::Result<Self> {
        let limit = usize::try_from(limit)
            .unwrap_or(usize::MAX)
            .min(Semaphore::MAX_PERMITS);
        let spawns = starts(limit);
        let taken = open_fds()? + SPARE_FDS + spawns * SPAWN_FDS + RUN_FDS as usize;
        let fds = limit.saturating_sub(taken);
        if fds == 0 {
            return Err(too_low(limit, taken + 1));
        }
        Ok(Self {
            fds: Arc::new(Semaphore::new(fds)),
            last_run: Arc::new(Semaphore::new(1)),
            starts: Starts::new(spawns),
            passed: Arc::new(Semaphore::new(limit / 4)),
            queued: AtomicUsize::new(0),
            max_queue,
            requests: Requests::new(),
            idle: Mutex::default(),
        })
    }

    /// Room for a connection; closes the longest-idle one if there is none.
    pub(crate) async fn connection(&self) -> OwnedSemaphorePermit {
        self.acquire(1).await
    }

    /// Room for a connection, if there is some at once.
    pub(crate) fn try_connection(&self) -> Option<OwnedSemaphorePermit> {
        self.fds.clone().try_acquire_owned().ok()
    }

    /// Room for a run.
    ///
    /// # Errors
    /// There is none now, and so many wait already that this one cannot.
    pub(crate) async fn run(&self) -> Result<RunPermit, QueueFull> {
        // Polled only if there is no room at once.
        let full = async {
            let queued = Queued::enter(&self.queued);
            if queued.before < self.max_queue {
                std::future::pending().await
            }
        };
        tokio::select! {
            biased;
            mut permit = self.acquire(RUN_FDS) => {
                let stdin = permit.split(1);
                Ok(RunPermit { _permit: permit, stdin })
            }
            permit = self.last_run.clone().acquire_owned() => {
                Ok(RunPermit { _permit: permit.expect("never closed"), stdin: None })
            }
            () = full => Err(QueueFull),
        }
    }

    /// Room for the descriptors that exist only while a command is being started.
    pub(crate) async fn spawn(&self) -> SpawnPermit<'_> {
        self.starts.begin(&self.fds).await
    }

    /// Room for descriptors that wait for the start of the command which they were passed to: a quarter
    /// of all that this process may have. `None` if there is none now.
    pub(crate) fn passed(&self, fds: usize) -> Option<OwnedSemaphorePermit> {
        let fds = u32::try_from(fds).ok()?;
        self.passed.clone().try_acquire_many_owned(fds).ok()
    }

    /// The numbers that no one has yet.
    pub(crate) fn numbers(&self) -> Numbers {
        Numbers::new(&self.fds, &self.passed)
    }

    async fn acquire(&self, fds: u32) -> OwnedSemaphorePermit {
        let mut acquired = pin!(self.fds.clone().acquire_many_owned(fds));
        tokio::select! {
            biased;
            permit = &mut acquired => permit.expect("never closed"),
            never = self.evict_idle() => never,
        }
    }
}

/// A place in the queue, until dropped.
struct Queued<'a> {
    count: &'a AtomicUsize,
    /// How many were there before.
    before: usize,
}

impl<'a> Queued<'a> {
    fn enter(count: &'a AtomicUsize) -> Self {
        let before = count.fetch_add(1, Relaxed);
        Self { count, before }
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Relaxed);
    }
}

impl RunPermit {
    /// The part for stdin: to be dropped when that is closed.
    pub(crate) fn take_stdin(&mut self) -> Option<OwnedSemaphorePermit> {
        self.stdin.take()
    }
}

/// For how many starts at once low numbers are set apart: each takes three. Where few descriptors are open,
/// a copy of them all costs next to nothing.
pub(crate) fn start_slots(limit: u64) -> usize {
    const FEW: u64 = 1024;
    match limit {
        0..FEW => 0,
        _ => starts(usize::try_from(limit).unwrap_or(usize::MAX)),
    }
}

/// How many commands may be starting at once.
fn starts(limit: usize) -> usize {
    (limit / 64).clamp(1, cores() + SPARE_SPAWNS)
}

pub(super) fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}
