//! What is read from an accepted stream, and the descriptors that come with it.

use std::io;
use std::time::Duration;

use rustix::net::{RecvFlags, recv};
use tokio::task::coop::consume_budget;
use tokio::time::timeout;

use super::{Accepted, Transport};
use crate::server::strangers::Received;

/// Requests are mostly one line; a longer one takes some more reads.
const RECEIVE_LEN: usize = 4096;

/// What is thrown away is read in pieces of at most this, …
const DISCARD_LEN: usize = 64 * 1024;

/// … with such a pause between pieces of that length.
pub(crate) const DISCARD_PAUSE: Duration = Duration::from_millis(1);

impl Accepted {
    /// Reads some bytes for `take`, waiting for some; returns how many. Descriptors that come with them
    /// are closed.
    pub(crate) async fn receive(&self, mut take: impl FnMut(&[u8])) -> io::Result<usize> {
        let received = self.receive_with_descriptors(|data| take(data)).await?;
        Ok(self.strangers.close_received(received))
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

    /// As [`receive`](Self::receive), for who has to give way: fails with `WouldBlock` if nothing has come.
    pub(crate) async fn receive_last(&self, take: impl FnMut(&[u8])) -> io::Result<usize> {
        let received = self.receive_last_with_descriptors(take).await?;
        Ok(self.strangers.close_received(received))
    }

    /// As [`receive_with_descriptors`](Self::receive_with_descriptors), and fails with `WouldBlock` instead of
    /// waiting.
    fn receive_now_with_descriptors(&self, take: impl FnOnce(&[u8])) -> io::Result<Received> {
        let mut chunk = [0; RECEIVE_LEN];
        let received = self.try_receive(&mut chunk)?;
        take(&chunk[..received.len]);
        Ok(received)
    }

    /// As [`receive_now_with_descriptors`](Self::receive_now_with_descriptors), for who has to give way:
    /// waits a little for a thread that reads for it already.
    pub(crate) async fn receive_last_with_descriptors(
        &self,
        mut take: impl FnMut(&[u8]),
    ) -> io::Result<Received> {
        const PATIENCE: Duration = Duration::from_secs(1);
        let socket = self.watched().get_ref();
        let mut received = self.receive_now_with_descriptors(&mut take);
        let again = async {
            while received.is_err() && socket.is_blocked() {
                socket.changed(&self.strangers).await;
                received = self.receive_now_with_descriptors(&mut take);
            }
        };
        let _ = timeout(PATIENCE, again).await;
        received
    }

    /// Reads at most `most` bytes into `buffer`, which is empty while there is nothing.
    pub(crate) async fn read_into(&self, buffer: &mut Vec<u8>, most: u64) -> io::Result<usize> {
        self.when_readable(|| {
            let len = self.unread().unwrap_or(0).clamp(1, most);
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
            // A client sends its request with the connection: mostly it is there already.
            match read() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
            let watched = self.watched();
            if watched.get_ref().is_blocked() {
                // More bytes, or the end, would change nothing.
                watched.get_ref().changed(&self.strangers).await;
                continue;
            }
            let mut guard = watched.readable().await?;
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
        Ok(self.strangers.close_received(received))
    }

    fn try_receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        let socket = self.watched().get_ref();
        let received = rustix::io::retry_on_intr(|| match self.transport {
            Transport::Unix => socket.receive(&self.strangers, buffer),
            Transport::Tcp => Ok(Received {
                len: recv(socket, &mut *buffer, RecvFlags::empty())?.0,
                ..Received::default()
            }),
        });
        Ok(received?)
    }
}
