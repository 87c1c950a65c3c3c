//! One accepted stream, unix or TCP alike.

mod reading;
mod writing;

pub(crate) use reading::DISCARD_PAUSE;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use rustix::event::PollFlags;
use rustix::net::sockopt::set_socket_oobinline;
use rustix::net::{Shutdown, shutdown};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::strangers::Strangers;
use crate::process::untaken;
use crate::reactor::{ready_now, watch};

/// Which kind of stream; they differ in what a hang-up looks like and in who can reach us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Unix,
    Tcp,
}

/// A non-blocking stream socket in the reactor.
pub(crate) struct Accepted {
    fd: AsyncFd<OwnedFd>,
    transport: Transport,
    strangers: Strangers,
}

impl Accepted {
    /// Takes over a socket that is non-blocking already.
    pub(crate) fn new(fd: OwnedFd, transport: Transport, strangers: Strangers) -> io::Result<Self> {
        if transport == Transport::Unix {
            // Otherwise a read throws a byte out of band away, and the kernel closes what came with it.
            // Refused only where there are no such bytes, before Linux 5.15.
            let _ = set_socket_oobinline(&fd, true);
        }
        Ok(Self {
            fd: watch(fd, Interest::READABLE | Interest::WRITABLE)?,
            transport,
            strangers,
        })
    }

    pub(crate) fn transport(&self) -> Transport {
        self.transport
    }

    /// The user of the peer, if the kernel tells: it does on unix sockets.
    pub(crate) fn peer_uid(&self) -> Option<u32> {
        let credentials = (self.transport == Transport::Unix).then(|| {
            let peer = getsockopt(&self.fd, PeerCredentials);
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
        let _ = shutdown(&self.fd, Shutdown::Write);
    }

    /// Whether the peer has gone altogether: a unix socket closed both ways, a TCP reset. A plain TCP
    /// close cannot be told from a half-close.
    pub(crate) fn is_hung_up(&self) -> bool {
        let gone = PollFlags::HUP | PollFlags::ERR;
        ready_now(&self.fd, PollFlags::empty()).intersects(gone)
    }

    /// Bytes that were written and that the peer's kernel, or on a unix socket the peer itself, has not
    /// taken.
    pub(crate) fn untaken(&self) -> u64 {
        untaken(&self.fd).unwrap_or(0)
    }

    /// Bytes that have come and were not read.
    pub(crate) fn unread(&self) -> u64 {
        rustix::io::ioctl_fionread(&self.fd).unwrap_or(0)
    }

    /// Resolves once the peer has gone altogether; bytes that it sends meanwhile stay unread.
    pub(crate) async fn hung_up(&self) {
        while !self.is_hung_up() {
            let Ok(mut guard) = self.fd.ready(Interest::WRITABLE).await else {
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
            if self.unread() < missing {
                return;
            }
        }
        std::future::pending().await
    }
}

impl Drop for Accepted {
    /// The kernel would close the descriptors that wait unread in a socket with it, on this thread.
    fn drop(&mut self) {
        if self.transport == Transport::Unix {
            // After this no more can come.
            let _ = shutdown(&self.fd, Shutdown::Both);
            if self.unread() > 0 {
                self.strangers.close_unread(self.fd.get_ref());
            }
        }
    }
}

impl AsFd for Accepted {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
