//! One accepted stream, unix or TCP alike.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use rustix::event::PollFlags;
use rustix::net::sockopt::set_tcp_nodelay;
use rustix::net::{
    RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, recv, send, sendmsg,
    shutdown,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::coop::consume_budget;

use super::strangers::{Received, Strangers};
use crate::process::untaken;
use crate::reactor::{ready_now, watch};

/// Requests are mostly one line; a longer one takes some more reads.
const RECEIVE_LEN: usize = 4096;

/// What is thrown away is read in pieces of at most this, …
pub(crate) const DISCARD_LEN: usize = 64 * 1024;

/// … with such a pause between pieces of that length.
pub(crate) const DISCARD_PAUSE: Duration = Duration::from_millis(1);

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
        Ok(Self {
            fd: watch(fd, Interest::READABLE | Interest::WRITABLE)?,
            transport,
            strangers,
        })
    }

    pub(crate) fn transport(&self) -> Transport {
        self.transport
    }

    /// Reads some bytes for `take`, waiting for some; returns how many. Descriptors that come with them
    /// are closed.
    pub(crate) async fn receive(&self, mut take: impl FnMut(&[u8])) -> io::Result<usize> {
        let received = self.receive_with_descriptors(|data| take(data)).await?;
        self.strangers.close(received.fds);
        Ok(received.len)
    }

    /// As [`receive`](Self::receive); returns the descriptors, too.
    pub(crate) async fn receive_with_descriptors(
        &self,
        mut take: impl FnMut(&[u8]),
    ) -> io::Result<Received> {
        // The buffer is not in the future: a connection that waits has none.
        self.when_readable(|| self.receive_now_with_descriptors(&mut take))
            .await
    }

    /// As [`receive`](Self::receive), and fails with `WouldBlock` instead of waiting.
    pub(crate) fn receive_now(&self, take: impl FnOnce(&[u8])) -> io::Result<usize> {
        let received = self.receive_now_with_descriptors(take)?;
        self.strangers.close(received.fds);
        Ok(received.len)
    }

    /// As [`receive_now`](Self::receive_now); returns the descriptors, too.
    pub(crate) fn receive_now_with_descriptors(
        &self,
        take: impl FnOnce(&[u8]),
    ) -> io::Result<Received> {
        let mut chunk = [0; RECEIVE_LEN];
        let received = self.try_receive(&mut chunk)?;
        take(&chunk[..received.len]);
        Ok(received)
    }

    /// Reads at most `most` bytes into `buffer`, which is as long as what was there and empty while there
    /// is nothing.
    pub(crate) async fn read_into(&self, buffer: &mut Vec<u8>, most: u64) -> io::Result<usize> {
        self.when_readable(|| {
            let len = self.unread().clamp(1, most);
            buffer.resize(len as usize, 0);
            let read = self.try_read(buffer);
            if read.is_err() {
                *buffer = Vec::new();
            }
            read
        })
        .await
    }

    /// Reads and forgets at most [`DISCARD_LEN`] bytes, waiting for some; returns how many. More than
    /// that at once is read with pauses, so that a client that floods takes no time from others.
    pub(crate) async fn discard(&self) -> io::Result<usize> {
        let len = self.when_readable(|| self.try_discard()).await?;
        if len == DISCARD_LEN {
            tokio::time::sleep(DISCARD_PAUSE).await;
        }
        Ok(len)
    }

    /// What `read` returns, once that is not `WouldBlock`.
    async fn when_readable<T>(&self, mut read: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        loop {
            // A peer that always has more, or that sends descriptors, must not keep others from their turn.
            consume_budget().await;
            if self.transport == Transport::Unix {
                self.strangers.room().await;
            }
            // A client sends its request with the connection: mostly it is there already.
            match read() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
            let mut guard = self.fd.readable().await?;
            if let Ok(result) = guard.try_io(|_| read()) {
                return result;
            }
        }
    }

    /// Mostly there is nothing: the long buffer is made only where there is much.
    fn try_discard(&self) -> io::Result<usize> {
        let len = self.try_read(&mut [0; RECEIVE_LEN])?;
        if len < RECEIVE_LEN {
            return Ok(len);
        }
        // What fails here fails again at the next call.
        Ok(len + self.try_discard_more().unwrap_or(0))
    }

    /// A function of its own, as its buffer takes time even where it is not used.
    #[inline(never)]
    fn try_discard_more(&self) -> io::Result<usize> {
        self.try_read(&mut [0; DISCARD_LEN - RECEIVE_LEN])
    }

    /// Reads what is there now, or fails with `WouldBlock`.
    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let received = self.try_receive(buffer)?;
        self.strangers.close(received.fds);
        Ok(received.len)
    }

    fn try_receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        let fd = self.fd.get_ref();
        let received = rustix::io::retry_on_intr(|| match self.transport {
            Transport::Unix => Strangers::read(fd, buffer),
            Transport::Tcp => Ok(Received {
                len: recv(fd, &mut *buffer, RecvFlags::empty())?.0,
                ..Received::default()
            }),
        });
        Ok(received?)
    }

    /// Writes the beginning of `data`, or fails with `WouldBlock`; returns how much.
    pub(crate) fn try_write(&self, data: &[u8]) -> io::Result<usize> {
        transmit(self.fd.get_ref(), data)
    }

    /// Writes the beginning of `data`, waiting until the peer takes some; returns how much.
    pub(crate) async fn write(&self, data: &[u8]) -> io::Result<usize> {
        consume_budget().await;
        loop {
            // Written before readiness is asked for: `hung_up` clears it.
            match transmit(self.fd.get_ref(), data) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
            let mut guard = self.fd.writable().await?;
            if let Ok(result) = guard.try_io(|fd| transmit(fd.get_ref(), data)) {
                return result;
            }
        }
    }

    /// Writes the beginning of `data` and passes `fd` with it, waiting until the peer takes some; returns
    /// how much.
    pub(crate) async fn write_with(&self, data: &[u8], fd: BorrowedFd<'_>) -> io::Result<usize> {
        loop {
            let mut guard = self.fd.writable().await?;
            if let Ok(result) = guard.try_io(|socket| transmit_with(socket.get_ref(), data, fd)) {
                return result;
            }
        }
    }

    /// Has small writes leave at once: the kernel would let them wait for each other (tcp(7),
    /// `TCP_NODELAY`).
    pub(crate) fn send_at_once(&self) {
        if self.transport == Transport::Tcp {
            let _ = set_tcp_nodelay(&self.fd, true);
        }
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
        self.hung_up().await;
        if self.unread() >= missing {
            std::future::pending().await
        }
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

fn transmit(fd: &OwnedFd, data: &[u8]) -> io::Result<usize> {
    Ok(rustix::io::retry_on_intr(|| {
        send(fd, data, SendFlags::NOSIGNAL)
    })?)
}

fn transmit_with(socket: &OwnedFd, data: &[u8], fd: BorrowedFd<'_>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [fd];
    if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let parts = [IoSlice::new(data)];
    Ok(rustix::io::retry_on_intr(|| {
        sendmsg(socket, &parts, &mut control, SendFlags::NOSIGNAL)
    })?)
}
