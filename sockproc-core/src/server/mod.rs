//! The server: accepts connections, and runs what they ask for. It knows sockets and protocols, moves
//! bytes between them and the pipes of commands, and keeps within its limits.

mod accepted;
mod accepting;
mod activity;
pub(crate) mod budget;
mod classic;
mod completion;
mod config;
pub(crate) mod listener;
mod native;
mod opening;
mod orphans;
#[cfg(feature = "cli")]
mod owner;
mod peer;
mod run;
mod shutdown;
mod strangers;

pub use config::{Cgroup, Config};
pub use listener::{BindError, Listener, SocketOptions};
#[cfg(feature = "cli")]
pub(crate) use owner::Owner;

use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use rustix::net::sockopt::set_socket_passcred;
use rustix::process::{child_subreaper, getpid};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinSet;
use tracing::info;

use crate::process::{Delegation, Spawner, close_inherited_fds, prepare_signals};
use accepted::{Accepted, Transport};
use budget::Budget;
use classic::memory::ReplyMemory;
use classic::spill::Spill;
use native::{BulkBuffers, WideWindows};
use shutdown::Shutdown;
use strangers::Strangers;

/// Runs the commands of everyone who connects.
///
/// It owns the process that it lives in: it raises the limit on open files, puts SIGCHLD back to its
/// default, ignores SIGXFSZ, unblocks all signals and marks inherited descriptors close-on-exec.
pub struct Server {
    common: Arc<Common>,
}

/// The time that clients have to read the replies of commands that were killed at the end.
const LAST_REPLIES: Duration = Duration::from_secs(5);

/// What every connection needs.
pub(crate) struct Common {
    config: Config,
    budget: Budget,
    spawner: Spawner,
    memory: ReplyMemory,
    spill: Spill,
    strangers: Strangers,
    bulk_buffers: BulkBuffers,
    wide_windows: WideWindows,
    shutdown: Shutdown,
    next_id: AtomicU64,
}

impl Server {
    /// A server that listens nowhere yet. Install signal handlers before: what they replace is what
    /// commands get.
    ///
    /// # Errors
    /// The limit on open files leaves no room for a single run, the kernel has no thread, or the cgroup
    /// cannot be used.
    pub fn new(config: Config) -> io::Result<Self> {
        prepare_signals();
        close_inherited_fds();
        let (limit, before) = budget::rlimits::raise_open_files();
        let delegation = match &config.cgroup {
            Cgroup::None => None,
            Cgroup::IfDelegated => Delegation::find()?,
            Cgroup::At(dir) => Some(Delegation::at(dir.clone())?),
        };
        // Before the budget is made, which counts what is open.
        let spawner = Spawner::new(before, config.kill_grace, budget::start_slots(limit))?
            .with_environment(config.environment.clone())
            .with_cgroups(delegation)
            .with_sessions(config.new_session);
        let spill = Spill::new(config.spill_dir.clone(), config.max_spill_total);
        let budget = Budget::new(limit, config.max_queue)?;
        Ok(Self {
            common: Arc::new(Common {
                strangers: Strangers::new(budget.numbers())?,
                budget,
                spawner,
                memory: ReplyMemory::new(config.reply_memory),
                spill,
                bulk_buffers: BulkBuffers::new(),
                wide_windows: WideWindows::new(),
                shutdown: Shutdown::new(),
                next_id: AtomicU64::new(1),
                config,
            }),
        })
    }

    /// Serves until `stop` resolves, then drains: closes idle connections, removes the sockets, and
    /// returns when the last running command has been answered. A client that reads nothing of its reply
    /// for 5 s meanwhile is left, and so is a socket's name whose removal takes longer than 6 s.
    ///
    /// When `stop_now` resolves meanwhile, or after [`Config::drain_timeout`], what still runs is ended.
    /// A server without such a timeout lets commands run on; `stop_now` then only ends the connections
    /// that run nothing.
    ///
    /// # Errors
    /// A listener cannot be watched.
    ///
    /// # Cancel safety
    /// Dropping the future closes the listeners and removes their files at once; connections that were
    /// accepted go on in tasks of their own, until the runtime ends.
    ///
    /// ```
    /// use sockproc_core::client::Client;
    /// use sockproc_core::server::{Config, Listener, Server, SocketOptions};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let address = sockproc_core::Address::unix(dir.path().join("sock"))?;
    /// let options = SocketOptions { mode: Some(0o600), ..SocketOptions::default() };
    /// let listener = Listener::bind(&address, &options)?;
    /// let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    /// let server = Server::new(Config::default())?;
    /// let serving = tokio::spawn(server.run(
    ///     vec![listener],
    ///     async { drop(stopped.await) },
    ///     std::future::pending(),
    /// ));
    /// assert_eq!(Client::new(address).run("echo hi", "").await?.stdout, b"hi\n");
    /// drop(stop);
    /// serving.await??;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn run(
        self,
        listeners: Vec<Listener>,
        stop: impl Future<Output = ()>,
        stop_now: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let _orphans = self.reap_orphans();
        // Every connection holds a sender: the receiver ends with the last of them.
        let (running, mut all_ended) = mpsc::channel::<()>(1);
        let mut accepting = JoinSet::new();
        for listener in listeners {
            let (common, running) = (self.common.clone(), running.clone());
            accepting.spawn(common.accept_all(listener, running));
        }
        tokio::select! {
            () = stop => {}
            Some(ended) = accepting.join_next() => ended.map_err(io::Error::other)??,
        }
        info!("draining");
        self.common.shutdown.drain();
        let mut all_ended = pin!(async move {
            while accepting.join_next().await.is_some() {}
            drop(running);
            all_ended.recv().await;
        });
        let timeout = async {
            match self.common.config.drain_timeout {
                Some(timeout) => tokio::time::sleep(timeout).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = &mut all_ended => return Ok(()),
            () = stop_now => {}
            () = timeout => {}
        }
        if self.common.config.drain_timeout.is_none() {
            self.common.shutdown.hurry();
            all_ended.await;
            return Ok(());
        }
        self.common.shutdown.kill();
        // Clients that do not read, and commands that nothing kills, are left behind.
        let limit = self.common.config.kill_grace + LAST_REPLIES;
        let _ = tokio::time::timeout(limit, all_ended).await;
        Ok(())
    }

    /// Serves one connected unix stream socket, and returns when its exchange is over. When
    /// `stop_now` resolves before, the command is ended.
    ///
    /// # Errors
    /// The socket cannot be watched.
    ///
    /// # Cancel safety
    /// Dropping the future closes the socket and kills the command's process group.
    pub async fn serve_one(
        &self,
        socket: OwnedFd,
        stop_now: impl Future<Output = ()>,
    ) -> io::Result<()> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        // Else everything that comes would look as if it brought descriptors. TCP has no such option.
        let _ = set_socket_passcred(&socket, false);
        let _orphans = self.reap_orphans();
        let mut served = pin!(self.common.serve(socket, Transport::Unix, None));
        tokio::select! {
            served = &mut served => return served,
            () = stop_now => self.common.shutdown.kill(),
        }
        served.await
    }

    /// Where the kernel gives orphans to this process, waits for them until the value is dropped.
    fn reap_orphans(&self) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        if getpid().is_init() || matches!(child_subreaper(), Ok(Some(_))) {
            tasks.spawn(orphans::reap(self.common.spawner.clone()));
        }
        tasks
    }
}

impl Common {
    async fn serve(
        &self,
        socket: OwnedFd,
        transport: Transport,
        permit: Option<OwnedSemaphorePermit>,
    ) -> io::Result<()> {
        let id = self.next_id.fetch_add(1, Relaxed);
        let socket = Accepted::new(socket, transport, self.strangers.clone(), permit)?;
        opening::serve(self, socket, id).await;
        Ok(())
    }
}
