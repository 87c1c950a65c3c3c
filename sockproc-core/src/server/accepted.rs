//! One accepted stream, unix or TCP alike.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::coop::consume_budget;

use super::strangers::Strangers;
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

    /// Reads some bytes for `take`, waiting for some; returns how many.
    pub(crate) async fn receive(&self, mut take: impl FnMut(&[u8])) -> io::Result<usize> {
        // The buffer is not in the future: a connection that waits has none.
        self.when_readable(|| {
            let mut chunk = [0; RECEIVE_LEN];
            let len = self.try_read(&mut chunk)?;
            take(&chunk[..len]);
            Ok(len)
        })
        .await
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
    async fn when_readable(
        &self,
        mut read: impl FnMut() -> io::Result<usize>,
    ) -> io::Result<usize> {
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

    /// Not in the future of a connection: it would be as large as this buffer.
    fn try_discard(&self) -> io::Result<usize> {
        self.try_read(&mut [0; DISCARD_LEN])
    }

    /// Reads what is there now, or fails with `WouldBlock`.
    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let fd = self.fd.get_ref();
        let read = rustix::io::retry_on_intr(|| match self.transport {
            Transport::Unix => self.strangers.read(fd, buffer),
            Transport::Tcp => Ok(recv(fd, &mut *buffer, RecvFlags::empty())?.0),
        });
        Ok(read?)
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
            if self.is_hung_up() {
                return;
            }
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
