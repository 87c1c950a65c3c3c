//! Accepts connections, as far as there are descriptors for them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::accepted::Transport;
use super::listener::BACKLOG;
use super::strangers::Strangers;
use super::{Common, Listener};
use crate::reactor::{ready_now, watch};

/// The longest wait for the removal of a socket's name: a little more than for its lock. The mount may
/// hang.
const REMOVAL: Duration = Duration::from_secs(6);

/// A listener in the reactor. With a unix listener the kernel closes what has come on the connections that
/// are left: dropped, it is closed on a thread of its own.
struct Listening {
    transport: Transport,
    /// Taken out only when this is dropped.
    watched: Option<AsyncFd<OwnedFd>>,
    strangers: Strangers,
}

impl Common {
    /// Accepts until the server drains; then takes in who has connected before, and closes.
    pub(super) async fn accept_all(
        self: Arc<Self>,
        listener: Listener,
        running: mpsc::Sender<()>,
    ) -> io::Result<()> {
        let transport = listener.transport();
        info!(address = %listener.address(), "listening");
        let (fd, file) = listener.into_parts();
        let listening = Listening {
            transport,
            watched: Some(watch(fd, Interest::READABLE)?),
            strangers: self.strangers.clone(),
        };
        let accept_more = async {
            loop {
                let mut ready = listening.watched().readable().await?;
                let permit = match self.budget.try_connection() {
                    Some(permit) => permit,
                    // If no connection is waiting, no idle one needs to be closed to make room.
                    None if ready_now(&listening, PollFlags::IN).is_empty() => {
                        ready.clear_ready();
                        continue;
                    }
                    None => self.budget.connection().await,
                };
                match accept(&listening) {
                    Ok(socket) => self.clone().start(socket, transport, permit, &running),
                    Err(Errno::AGAIN) => ready.clear_ready(),
                    Err(error) => self.endure(error).await,
                }
            }
        };
        let result: io::Result<()> = tokio::select! {
            result = accept_more => result,
            () = self.shutdown.draining() => Ok(()),
        };
        // Then no more can come, but who has connected before is served.
        let removed = tokio::task::spawn_blocking(|| drop(file));
        let _ = timeout(REMOVAL, removed).await;
        for _ in 0..BACKLOG {
            let Some(permit) = self.budget.try_connection() else {
                break;
            };
            let Ok(socket) = accept(&listening) else {
                break;
            };
            self.clone().start(socket, transport, permit, &running);
        }
        result
    }

    /// Outlives a moment in which the kernel has no descriptor or no memory for a connection (accept(2)).
    async fn endure(&self, error: Errno) {
        const PAUSE: Duration = Duration::from_millis(20);
        if error == Errno::CONNABORTED {
            return;
        }
        warn!(%error, "cannot accept");
        match error {
            // Not all descriptors that are being closed are in the budget.
            Errno::MFILE => drop(timeout(PAUSE, self.budget.evict_idle()).await),
            _ => sleep(PAUSE).await,
        }
    }

    /// Serves a connection beside all others.
    pub(super) fn start(
        self: Arc<Self>,
        socket: OwnedFd,
        transport: Transport,
        permit: OwnedSemaphorePermit,
        running: &mpsc::Sender<()>,
    ) {
        let running = running.clone();
        tokio::spawn(async move {
            if let Err(error) = self.serve(socket, transport, Some(permit)).await {
                warn!(%error, "cannot watch a connection");
            }
            drop(running);
        });
    }
}

impl Listening {
    fn watched(&self) -> &AsyncFd<OwnedFd> {
        self.watched.as_ref().expect("it is there until the end")
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if self.transport == Transport::Unix {
            let fds = self.watched.take().into_iter().map(AsyncFd::into_inner);
            self.strangers.close(fds.collect(), ());
        }
    }
}

impl AsFd for Listening {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watched().as_fd()
    }
}

fn accept(listener: &Listening) -> Result<OwnedFd, Errno> {
    rustix::io::retry_on_intr(|| {
        accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)
    })
}
