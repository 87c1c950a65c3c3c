//! Accepts connections, as far as there are descriptors for them.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};
use tokio::io::Interest;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tracing::{info, warn};

use super::accepted::Transport;
use super::{Common, Listener};
use crate::reactor::{ready_now, watch};

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
        let fd = watch(fd, Interest::READABLE)?;
        let accept_more = async {
            loop {
                let mut ready = fd.readable().await?;
                let permit = match self.budget.try_connection() {
                    Some(permit) => permit,
                    // If no connection is waiting, no idle one needs to be closed to make room.
                    None if ready_now(&fd, PollFlags::IN).is_empty() => {
                        ready.clear_ready();
                        continue;
                    }
                    None => self.budget.connection().await,
                };
                match accept(fd.get_ref()) {
                    Ok(socket) => self.clone().start(socket, transport, permit, &running),
                    Err(Errno::AGAIN) => ready.clear_ready(),
                    Err(error) => endure(error).await,
                }
            }
        };
        let result: io::Result<()> = tokio::select! {
            result = accept_more => result,
            () = self.shutdown.draining() => Ok(()),
        };
        // No more can come, but who has connected before is served.
        // Taking its lock may block.
        let _ = tokio::task::spawn_blocking(|| drop(file)).await;
        while let Some(permit) = self.budget.try_connection() {
            let Ok(socket) = accept(fd.get_ref()) else {
                break;
            };
            self.clone().start(socket, transport, permit, &running);
        }
        if transport == Transport::Unix {
            // With it the kernel closes what has come on the connections that are left.
            self.strangers.close(vec![fd.into_inner()]);
        }
        result
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
            if let Err(error) = self.serve(socket, transport).await {
                warn!(%error, "cannot watch a connection");
            }
            drop((permit, running));
        });
    }
}

fn accept(listener: &OwnedFd) -> Result<OwnedFd, Errno> {
    rustix::io::retry_on_intr(|| {
        accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)
    })
}

/// Outlives a moment in which the kernel has no descriptor or no memory for a connection (accept(2)).
async fn endure(error: Errno) {
    const PAUSE: Duration = Duration::from_millis(20);
    if error != Errno::CONNABORTED {
        warn!(%error, "cannot accept");
        tokio::time::sleep(PAUSE).await;
    }
}
