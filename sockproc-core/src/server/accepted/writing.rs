//! What is written to an accepted stream.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::net::sockopt::set_tcp_nodelay;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, send, sendmsg};
use tokio::task::coop::consume_budget;

use super::{Accepted, Transport};

impl Accepted {
    /// Writes the beginning of `data`, or fails with `WouldBlock`; returns how much.
    pub(crate) fn try_write(&self, data: &[u8]) -> io::Result<usize> {
        transmit(self, data)
    }

    /// Writes the beginning of `data`, waiting until the peer takes some; returns how much.
    pub(crate) async fn write(&self, data: &[u8]) -> io::Result<usize> {
        consume_budget().await;
        loop {
            // Written before readiness is asked for: `hung_up` clears it.
            match transmit(self, data) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
            let mut guard = self.watched().writable().await?;
            if let Ok(result) = guard.try_io(|fd| transmit(fd, data)) {
                return result;
            }
        }
    }

    /// Writes the beginning of `data` and passes `fd` with it, waiting until the peer takes some; returns
    /// how much.
    pub(crate) async fn write_with(&self, data: &[u8], fd: BorrowedFd<'_>) -> io::Result<usize> {
        loop {
            let mut guard = self.watched().writable().await?;
            if let Ok(result) = guard.try_io(|socket| transmit_with(socket, data, fd)) {
                return result;
            }
        }
    }

    /// Has small writes leave at once: the kernel would let them wait for each other (tcp(7),
    /// `TCP_NODELAY`).
    pub(crate) fn send_at_once(&self) {
        if self.transport == Transport::Tcp {
            let _ = set_tcp_nodelay(self, true);
        }
    }
}

fn transmit(fd: impl AsFd, data: &[u8]) -> io::Result<usize> {
    Ok(rustix::io::retry_on_intr(|| {
        send(&fd, data, SendFlags::NOSIGNAL)
    })?)
}

fn transmit_with(socket: impl AsFd, data: &[u8], fd: BorrowedFd<'_>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [fd];
    if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let parts = [IoSlice::new(data)];
    Ok(rustix::io::retry_on_intr(|| {
        sendmsg(&socket, &parts, &mut control, SendFlags::NOSIGNAL)
    })?)
}
