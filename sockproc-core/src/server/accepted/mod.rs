//! One accepted stream, unix or TCP alike.

mod reading;
mod socket;
mod writing;

pub(crate) use reading::DISCARD_PAUSE;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use rustix::event::PollFlags;
use rustix::net::sockopt::set_socket_oobinline;
use rustix::net::{Shutdown, shutdown};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::OwnedSemaphorePermit;

use super::strangers::Strangers;
use crate::process::untaken;
use crate::reactor::{ready_now, try_watch};
use socket::Socket;

/// Which kind of stream; they differ in what a hang-up looks like and in who can reach us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Unix,
    Tcp,
}

/// A non-blocking stream socket in the reactor.
pub(crate) struct Accepted {
    /// Taken out only when this is dropped.
    watched: Option<AsyncFd<Arc<Socket>>>,
    transport: Transport,
    strangers: Strangers,
}

impl Accepted {
    /// Takes over a socket that is non-blocking already.
    ///
    /// `permit` is its room among the descriptors, until it is closed.
    pub(crate) fn new(
        fd: OwnedFd,
        transport: Transport,
        strangers: Strangers,
        permit: Option<OwnedSemaphorePermit>,
    ) -> io::Result<Self> {
        if transport == Transport::Unix {
            // Otherwise a read throws a byte out of band away, and the kernel closes what came with it.
            // Refused only where there are no such bytes, before Linux 5.15.
            let _ = set_socket_oobinline(&fd, true);
        }
        let interest = Interest::READABLE | Interest::WRITABLE;
        let watched = try_watch(Socket::new(fd, permit), interest).map_err(|(socket, error)| {
            close(socket, transport, &strangers);
            error
        })?;
        Ok(Self {
            watched: Some(watched),
            transport,
            strangers,
        })
    }

    fn watched(&self) -> &AsyncFd<Arc<Socket>> {
        self.watched.as_ref().expect("it is there until the end")
    }

    pub(crate) fn transport(&self) -> Transport {
        self.transport
    }

    /// The user of the peer, if the kernel tells: it does on unix sockets.
    pub(crate) fn peer_uid(&self) -> Option<u32> {
        let credentials = (self.transport == Transport::Unix).then(|| {
            let peer = getsockopt(self, PeerCredentials);
            peer.ok().map(|peer| peer.uid())
        });
        credentials.flatten()
    }

    /// What closes descriptors that no one asked for.
    pub(crate) fn strangers(&self) -> &Strangers {
        &self.strangers
    }

    /// Ends our direction; the peer reads end of file after the last byte.
    pub(crate) fn half_close(&self) {
        // Fails only when the peer has gone.
        let _ = shutdown(self, Shutdown::Write);
    }

    /// Whether the peer has gone altogether: a unix socket closed both ways, a TCP reset. A plain TCP
    /// close cannot be told from a half-close.
    pub(crate) fn is_hung_up(&self) -> bool {
        let gone = PollFlags::HUP | PollFlags::ERR;
        ready_now(self, PollFlags::empty()).intersects(gone)
    }

    /// Bytes that were written and that the peer's kernel, or on a unix socket the peer itself, has not
    /// taken.
    pub(crate) fn untaken(&self) -> u64 {
        untaken(self).unwrap_or(0)
    }

    /// Bytes that have come and were not read; `None` while that changes by itself.
    fn unread(&self) -> Option<u64> {
        self.watched().get_ref().unread()
    }

    /// Resolves once the peer has gone altogether; bytes that it sends meanwhile stay unread.
    pub(crate) async fn hung_up(&self) {
        while !self.is_hung_up() {
            let Ok(mut guard) = self.watched().ready(Interest::WRITABLE).await else {
                return;
            };
            guard.clear_ready();
        }
    }

    /// Resolves once the peer has gone altogether and fewer than `missing` bytes of it are still to be
    /// read; never if they are all there.
    pub(crate) async fn gone_before(&self, missing: u64) {
        if missing > 0 {
            self.hung_up().await;
            if self.unread().is_some_and(|unread| unread < missing) {
                return;
            }
        }
        std::future::pending().await
    }
}

impl Drop for Accepted {
    fn drop(&mut self) {
        if let Some(watched) = self.watched.take() {
            close(watched.into_inner(), self.transport, &self.strangers);
        }
    }
}

/// The kernel would close the descriptors that wait unread in a socket with it, on this thread.
fn close(socket: Arc<Socket>, transport: Transport, strangers: &Strangers) {
    if transport == Transport::Unix {
        // After this no more can come.
        let _ = shutdown(&socket, Shutdown::Both);
        let (received, is_elsewhere) = socket.end();
        strangers.close_received(received);
        if is_elsewhere {
            strangers.close_elsewhere(socket);
        } else if socket.unread() != Some(0) {
            strangers.close_unread(socket);
        }
    }
}

impl AsFd for Accepted {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watched().as_fd()
    }
}
