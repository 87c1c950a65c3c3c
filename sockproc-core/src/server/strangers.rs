//! Descriptors that clients send although no one asked for them (`SCM_RIGHTS`, unix(7)).
//!
//! The kernel would close what a plain read does not take, on the reading thread; and closing a TCP
//! socket with SO_LINGER and unsent data blocks until the linger is over (socket(7)). So all of them are
//! received, and closed on threads of their own.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};

use crate::threads::Threads;

/// The most that the kernel passes with one message (`SCM_MAX_FD`).
const MAX_FDS: usize = 253;

/// At most this many closes may hang, as those of files of a hung mount do.
const MAX_CLOSES: usize = 4;

/// While more than this wait to be closed, no connection is read.
const MAX_WAITING: usize = 2 * MAX_FDS;

/// Closes what strangers send. Clones share the threads.
#[derive(Clone)]
pub(crate) struct Strangers {
    threads: Threads,
    waiting: Arc<AtomicUsize>,
    pauses: Arc<AtomicUsize>,
}

/// What one read has brought.
#[derive(Default)]
pub(crate) struct Received {
    /// How many bytes.
    pub(crate) len: usize,
    pub(crate) fds: Vec<OwnedFd>,
    /// Whether some descriptors were lost on the way: this process may have no more of them.
    pub(crate) is_cut: bool,
}

/// As long as this lives, no connection is read that could bring descriptors.
pub(crate) struct Pause(Arc<AtomicUsize>);

impl Drop for Pause {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Strangers {
    /// # Errors
    /// The kernel has no thread.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            threads: Threads::start("sockproc-close", MAX_CLOSES)?,
            waiting: Arc::default(),
            pauses: Arc::default(),
        })
    }

    /// Reads from a unix socket. Descriptors that come with the bytes are the caller's.
    pub(crate) fn read(socket: impl AsFd, buffer: &mut [u8]) -> rustix::io::Result<Received> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(buffer)];
        let message = recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        let mut fds = Vec::new();
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(sent) = part {
                fds.extend(sent);
            }
        }
        Ok(Received {
            len: message.bytes,
            fds,
            is_cut: message.flags.contains(ReturnFlags::CTRUNC),
        })
    }

    /// Resolves when there is room for more descriptors: those of one client are not to use up those of
    /// the server.
    pub(crate) async fn room(&self) {
        const PAUSE: Duration = Duration::from_millis(1);
        while self.waiting.load(Relaxed) > MAX_WAITING || self.pauses.load(Relaxed) > 0 {
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Keeps more descriptors from coming: there are too few for what the server itself has to do.
    pub(crate) fn pause(&self) -> Pause {
        self.pauses.fetch_add(1, Relaxed);
        Pause(self.pauses.clone())
    }

    /// Closes descriptors on threads of their own.
    pub(crate) fn close(&self, fds: Vec<OwnedFd>) {
        if fds.is_empty() {
            return;
        }
        self.waiting.fetch_add(fds.len(), Relaxed);
        let waiting = self.waiting.clone();
        let close = move || {
            for fd in fds {
                close_now(fd);
                waiting.fetch_sub(1, Relaxed);
            }
        };
        self.threads.run(close, drop);
    }

    /// Closes the descriptors that wait in a socket to which no more can come, on threads of their own.
    pub(crate) fn close_unread(&self, socket: &OwnedFd) {
        // If there is no descriptor for this, the kernel closes them.
        let Ok(socket) = socket.try_clone() else {
            return;
        };
        self.waiting.fetch_add(1, Relaxed);
        let waiting = self.waiting.clone();
        let close = move || {
            while let Ok(received) = Self::read(&socket, &mut [0; 4096])
                && received.len > 0
            {
                received.fds.into_iter().for_each(close_now);
            }
            drop(socket);
            waiting.fetch_sub(1, Relaxed);
        };
        self.threads.run(close, drop);
    }
}

fn close_now(fd: OwnedFd) {
    // Fails for all but sockets, which are what lingers.
    let _ = set_socket_linger(&fd, Some(Duration::ZERO));
    drop(fd);
}
