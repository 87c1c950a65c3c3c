//! Descriptors are what runs out first: who may open how many, and who has to give way.
//!
//! A connection holds one descriptor, a run four more (pidfd and three pipes). One run's worth is set
//! apart, so that whole requests are answered one by one even when connections hold all the rest.

use std::collections::BTreeMap;
use std::io;
use std::num::NonZero;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// pidfd, stdin, stdout, stderr.
const RUN_FDS: u32 = 4;

/// The command's ends of its pipes, open in the server until it is started.
const SPAWN_FDS: usize = 3;

/// How many commands may be starting beyond one for each core. More at once start none of them sooner,
/// and keep the client that waits for them, an event loop perhaps, from its core for longer.
const SPARE_SPAWNS: usize = 1;

/// Where no start comes to an end for so long, all of them hang.
const HUNG_START: Duration = Duration::from_millis(20);

/// Spill file, the socket's directory while it is locked, what guards stdin, and one to look around with.
const SPARE_FDS: usize = 4;

/// How long a connection may take to send its request before it can be closed in favour of another.
const MIN_WAITING: Duration = Duration::from_millis(500);

/// How long a client may read nothing of its reply, or send nothing of its stdin, before it can be; only
/// when no connection waits for a request.
pub(crate) const MIN_STALLED: Duration = Duration::from_secs(10);

/// The server's descriptors.
pub(crate) struct Budget {
    fds: Arc<Semaphore>,
    /// The run that can always be started.
    last_run: Arc<Semaphore>,
    /// How many commands may be between pipe(2) and execve(2).
    spawns: Semaphore,
    /// How many have been.
    ended_spawns: AtomicU64,
    idle: Mutex<Idle>,
}

/// Connections that wait for their clients, by the moment since which they do.
#[derive(Default)]
struct Idle {
    next_id: u64,
    waiting: BTreeMap<Key, Arc<Notify>>,
    stalled: BTreeMap<Key, Arc<Notify>>,
    held_back: BTreeMap<Key, Arc<Notify>>,
    /// As `stalled`, while the spill file holds some of the reply.
    stalled_spill: BTreeMap<Key, Arc<Notify>>,
}

type Key = (Instant, u64);

#[derive(Clone, Copy)]
enum WaitsFor {
    Request,
    Reader,
    Stdin,
    SpillReader,
}

/// A run's descriptors; stdin's goes back as soon as that is closed.
pub(crate) struct RunPermit {
    _permit: OwnedSemaphorePermit,
    stdin: Option<OwnedSemaphorePermit>,
}

/// Room to start a command, until dropped.
pub(crate) struct SpawnPermit<'a> {
    ended: &'a AtomicU64,
    _regular: Option<SemaphorePermit<'a>>,
    _extra: Option<OwnedSemaphorePermit>,
}

impl Drop for SpawnPermit<'_> {
    fn drop(&mut self) {
        self.ended.fetch_add(1, Relaxed);
    }
}

/// A connection that waits for its client, as long as this lives.
pub(crate) struct IdleGuard<'a> {
    budget: &'a Budget,
    waits_for: WaitsFor,
    key: Key,
    evicted: Arc<Notify>,
}

impl Idle {
    fn of(&mut self, waits_for: WaitsFor) -> &mut BTreeMap<Key, Arc<Notify>> {
        match waits_for {
            WaitsFor::Request => &mut self.waiting,
            WaitsFor::Reader => &mut self.stalled,
            WaitsFor::Stdin => &mut self.held_back,
            WaitsFor::SpillReader => &mut self.stalled_spill,
        }
    }

    /// Tells the longest-idle connection to end, if one has been idle for long enough.
    fn evict_one(&mut self) -> bool {
        let (plain, spill) = (&mut self.stalled, &mut self.stalled_spill);
        let (first, second) = match (plain.first_key_value(), spill.first_key_value()) {
            (Some((a, _)), Some((b, _))) if b < a => (spill, plain),
            _ => (plain, spill),
        };
        evict_longest(&mut self.waiting, MIN_WAITING)
            || evict_longest(first, MIN_STALLED)
            || evict_longest(second, MIN_STALLED)
            || evict_longest(&mut self.held_back, MIN_STALLED)
    }
}

/// Tells the connection that has waited for longest to end, if that is at least `least`.
fn evict_longest(connections: &mut BTreeMap<Key, Arc<Notify>>, least: Duration) -> bool {
    let longest = connections
        .first_entry()
        .filter(|entry| entry.key().0.elapsed() >= least);
    longest.map(|entry| entry.remove().notify_one()).is_some()
}

impl Budget {
    /// Divides what `limit` allows, less what is open already.
    ///
    /// # Errors
    /// There is no room for a single run.
    pub(crate) fn new(limit: u64) -> io::Result<Self> {
        let limit = usize::try_from(limit)
            .unwrap_or(usize::MAX)
            .min(Semaphore::MAX_PERMITS);
        let spawns = (limit / 64).clamp(1, cores() + SPARE_SPAWNS);
        let taken = open_fds()? + SPARE_FDS + spawns * SPAWN_FDS + RUN_FDS as usize;
        let fds = limit.saturating_sub(taken);
        if fds == 0 {
            return Err(too_low(limit, taken + 1));
        }
        Ok(Self {
            fds: Arc::new(Semaphore::new(fds)),
            last_run: Arc::new(Semaphore::new(1)),
            spawns: Semaphore::new(spawns),
            ended_spawns: AtomicU64::new(0),
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
    pub(crate) async fn run(&self) -> RunPermit {
        tokio::select! {
            biased;
            mut permit = self.acquire(RUN_FDS) => {
                let stdin = permit.split(1);
                RunPermit { _permit: permit, stdin }
            }
            permit = self.last_run.clone().acquire_owned() => {
                RunPermit { _permit: permit.expect("never closed"), stdin: None }
            }
        }
    }

    /// Room for the descriptors that exist only while a command is being started.
    ///
    /// Where no start comes to an end, they hang in the kernel, on a mount perhaps: others no longer wait
    /// for them, as long as there are descriptors.
    pub(crate) async fn spawn(&self) -> SpawnPermit<'_> {
        if let Ok(permit) = self.spawns.try_acquire() {
            return self.spawn_permit(Some(permit), None);
        }
        let mut acquired = pin!(self.spawns.acquire());
        loop {
            let ended = self.ended_spawns.load(Relaxed);
            tokio::select! {
                biased;
                permit = &mut acquired => return self.spawn_permit(permit.ok(), None),
                () = tokio::time::sleep(HUNG_START) => {}
            }
            if self.ended_spawns.load(Relaxed) == ended {
                let fds = self.fds.clone().try_acquire_many_owned(SPAWN_FDS as u32);
                if let Ok(fds) = fds {
                    return self.spawn_permit(None, Some(fds));
                }
            }
        }
    }

    fn spawn_permit<'a>(
        &'a self,
        regular: Option<SemaphorePermit<'a>>,
        extra: Option<OwnedSemaphorePermit>,
    ) -> SpawnPermit<'a> {
        SpawnPermit {
            ended: &self.ended_spawns,
            _regular: regular,
            _extra: extra,
        }
    }

    /// Says that a connection waits for its client's request, or for the client to close.
    pub(crate) fn waiting(&self) -> IdleGuard<'_> {
        self.idle(WaitsFor::Request)
    }

    /// Says that a connection waits for its client to read.
    pub(crate) fn stalled(&self) -> IdleGuard<'_> {
        self.idle(WaitsFor::Reader)
    }

    /// Says that a run waits for stdin that its client has announced.
    pub(crate) fn held_back(&self) -> IdleGuard<'_> {
        self.idle(WaitsFor::Stdin)
    }

    /// Says the same, while the spill file holds some of the reply.
    pub(crate) fn stalled_with_spill(&self) -> IdleGuard<'_> {
        self.idle(WaitsFor::SpillReader)
    }

    /// Tells the client that has read nothing of its spilled reply for longest to give way, if it has
    /// had [`MIN_STALLED`].
    pub(crate) fn evict_spill_reader(&self) {
        evict_longest(&mut self.lock().stalled_spill, MIN_STALLED);
    }

    fn idle(&self, waits_for: WaitsFor) -> IdleGuard<'_> {
        let evicted = Arc::new(Notify::new());
        let mut idle = self.lock();
        idle.next_id += 1;
        let key = (Instant::now(), idle.next_id);
        idle.of(waits_for).insert(key, evicted.clone());
        IdleGuard {
            budget: self,
            waits_for,
            key,
            evicted,
        }
    }

    async fn acquire(&self, fds: u32) -> OwnedSemaphorePermit {
        let mut acquired = pin!(self.fds.clone().acquire_many_owned(fds));
        tokio::select! {
            biased;
            permit = &mut acquired => permit.expect("never closed"),
            never = self.evict_idle() => never,
        }
    }

    /// Closes idle connections one by one, the longest-idle first, until dropped.
    async fn evict_idle(&self) -> ! {
        /// Time for an evicted connection to end before another has to.
        const PAUSE: Duration = Duration::from_millis(5);
        /// Time between two looks where none has been idle for long enough.
        const LOOK: Duration = Duration::from_millis(50);
        loop {
            let evicted = self.lock().evict_one();
            tokio::time::sleep(if evicted { PAUSE } else { LOOK }).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RunPermit {
    /// The part for stdin: to be dropped when that is closed.
    pub(crate) fn take_stdin(&mut self) -> Option<OwnedSemaphorePermit> {
        self.stdin.take()
    }
}

impl IdleGuard<'_> {
    /// Resolves when this connection has to give way.
    pub(crate) async fn evicted(&self) {
        self.evicted.notified().await;
    }
}

impl Drop for IdleGuard<'_> {
    fn drop(&mut self) {
        self.budget.lock().of(self.waits_for).remove(&self.key);
    }
}

/// Raises the soft limit on open files to the hard one; gives the limits as they are now, and as they
/// were if they differ.
pub(crate) fn raise_open_files() -> (u64, Option<Rlimit>) {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: before.maximum,
        maximum: before.maximum,
    };
    let limit = |rlimit: &Rlimit| rlimit.current.unwrap_or(u64::MAX);
    if before.current == before.maximum || setrlimit(Resource::Nofile, raised).is_err() {
        return (limit(&before), None);
    }
    (limit(&getrlimit(Resource::Nofile)), Some(before))
}

/// Fails where not even tokio could start; it would panic.
pub(crate) fn check_open_files() -> io::Result<()> {
    /// Two epoll instances, an event, and the signals' socket pair with a copy.
    const RUNTIME_FDS: usize = 7;
    let limit = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let needed = open_fds()? + RUNTIME_FDS + SPARE_FDS + SPAWN_FDS + RUN_FDS as usize + 1;
    match usize::try_from(limit) {
        Ok(limit) if limit < needed => Err(too_low(limit, needed)),
        _ => Ok(()),
    }
}

fn too_low(limit: usize, needed: usize) -> io::Error {
    io::Error::other(format!(
        "the limit of {limit} open files is too low: {needed} are needed (ulimit -n)"
    ))
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

fn open_fds() -> io::Result<usize> {
    // The directory itself is one of its entries.
    Ok(std::fs::read_dir("/proc/self/fd")?
        .count()
        .saturating_sub(1))
}
