//! What every way to serve has in common: a runtime, the log, and the signals that end it.

use std::io;
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{getpid, set_child_subreaper};
use tokio::runtime::{Builder, Runtime};

use super::pidfile::Pidfile;
use super::signals::{HeldSignals, Signals, survive_others, unblock_all};
use crate::process::limit_heaps;
use crate::server::budget::rlimits::check_open_files;
use crate::server::{BindError, Config, Listener, Owner, Server};

/// Why there was nothing to serve, and what to exit with.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServeError {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    Start(#[from] io::Error),
}

impl ServeError {
    pub(super) fn exit_code(&self) -> i32 {
        match self {
            Self::Bind(error) => error.errno(),
            Self::Start(error) => error.raw_os_error().unwrap_or(1),
        }
    }
}

/// Serves what `bind` returns until SIGTERM or SIGINT, and drains; returns the signal that came. Where
/// there is a drain timeout, its end or a second such signal ends the commands that still run. Without
/// one a second signal ends all connections but theirs: the C daemon's commands outlive any number of
/// signals to it.
///
/// `ready` is called when all is in place; its pidfile goes at the first signal.
pub(super) fn serve(
    bind: impl FnOnce() -> Result<Vec<Listener>, BindError>,
    config: Config,
    ready: impl FnOnce() -> Option<Pidfile>,
) -> Result<i32, ServeError> {
    // Shown by ps, and what start-stop-daemon --name looks for, also when an interpreter runs us.
    let _ = rustix::thread::set_name(c"sockproc");
    adopt_orphans();
    check_open_files()?;
    limit_heaps(HEAPS.max(cores()));
    check_threads()?;
    // A signal that comes when there is a socket must find somebody to remove it. But who fails to listen
    // must not have changed what this process does at signals: a host goes on with its own handlers.
    let held = HeldSignals::hold()?;
    let runtime = runtime(Builder::new_multi_thread())?;
    let ended = runtime.block_on(async {
        let listeners = bind()?;
        let server = Server::new(config)?;
        let mut signals = Signals::of_server()?;
        survive_others()?;
        drop(held);
        unblock_all();
        let pidfile = ready();
        let (tell, told) = tokio::sync::oneshot::channel();
        let mut first = 0;
        let stop = async {
            first = signals.next().await;
            // Taking its lock may block.
            let _ = tokio::task::spawn_blocking(|| drop(pidfile)).await;
            let _ = tell.send(signals);
        };
        let stop_now = async {
            match told.await {
                Ok(mut signals) => drop(signals.next().await),
                _ => std::future::pending().await,
            }
        };
        server.run(listeners, stop, stop_now).await?;
        Ok(first)
    });
    // Threads that hang in the kernel must not hold up the end.
    runtime.shutdown_background();
    ended
}

/// Prepares to serve one connected socket; the function that it returns does so. It hears no signals: who
/// has the other end passes them on, or closes it.
pub(super) fn serve_one(socket: OwnedFd, config: Config) -> io::Result<impl FnOnce() + Send> {
    adopt_orphans();
    check_open_files()?;
    check_threads()?;
    unblock_all();
    let runtime = runtime(Builder::new_current_thread())?;
    let server = runtime.block_on(async { Server::new(config) })?;
    Ok(move || {
        let served = runtime.block_on(server.serve_one(socket, std::future::pending()));
        if let Err(error) = served {
            tracing::error!(%error, "cannot serve");
        }
    })
}

/// Serves the process whose private server we are. It hears no signals.
pub(super) fn serve_owner(owner: Owner, config: Config) -> io::Result<()> {
    let _ = rustix::thread::set_name(c"sockproc");
    adopt_orphans();
    let told = fcntl_dupfd_cloexec(owner.control(), 3)?;
    let served = run_owner(owner, config);
    if let Err(error) = &served {
        Owner::tell(&told, &error.to_string());
    }
    served
}

fn run_owner(owner: Owner, config: Config) -> io::Result<()> {
    check_open_files()?;
    limit_heaps(HEAPS.max(cores()));
    check_threads()?;
    unblock_all();
    let runtime = runtime(Builder::new_multi_thread())?;
    let served = runtime.block_on(async { Server::new(config)?.serve_owner(owner).await });
    runtime.shutdown_background();
    served
}

/// Has the kernel give us what commands leave behind, so that it can be ended with its run (prctl(2)).
/// Only for a process that is a server and nothing else.
fn adopt_orphans() {
    // Fails on no Linux that has pidfds. Without it orphans are out of reach, and that is all.
    let _ = set_child_subreaper(Some(getpid()));
}

/// Fails where the kernel has too few threads for the runtime, which would panic.
fn check_threads() -> io::Result<()> {
    let needed = OTHER_THREADS + cores();
    let (release, wait) = std::sync::mpsc::sync_channel::<()>(0);
    let wait = Arc::new(Mutex::new(wait));
    let started = (0..needed).map(|_| {
        let wait = wait.clone();
        let hold = move || drop(wait.lock().map(|wait| wait.recv().is_ok()));
        thread::Builder::new().spawn(hold)
    });
    let started: Vec<_> = started.collect();
    drop(release);
    let has_failed = started.iter().any(Result::is_err);
    for thread in started.into_iter().flatten() {
        let _ = thread.join();
    }
    match has_failed {
        true => Err(io::Error::other(format!(
            "the kernel does not allow the {needed} threads that are needed (pids.max, ulimit -u, ulimit -v)"
        ))),
        false => Ok(()),
    }
}

/// As many heaps for allocations, or one a core if that is more.
const HEAPS: usize = 4;

fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Those that block, start commands, end them, close descriptors and keep files.
const OTHER_THREADS: usize = 5;

/// A runtime with one blocking thread from the start: while there is one, work only waits when the
/// kernel has no more threads to give; without any, tokio would panic.
fn runtime(mut builder: Builder) -> io::Result<Runtime> {
    const FOR_EVER: Duration = Duration::from_secs(u32::MAX as u64);
    /// This many execs and writes may hang in the kernel before others wait for them.
    const BLOCKING_THREADS: usize = 32;
    let runtime = builder
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_keep_alive(FOR_EVER)
        .build()?;
    runtime.spawn_blocking(|| ());
    Ok(runtime)
}

/// Ends this process as `signal` would have ended it; PID 1, which no signal ends, by exit code.
pub(super) fn die_by(signal: i32) -> i32 {
    if !getpid().is_init() {
        // Returns only for signals that do not end a process.
        let _ = signal_hook::low_level::emulate_default_handler(signal);
    }
    128 + signal
}
