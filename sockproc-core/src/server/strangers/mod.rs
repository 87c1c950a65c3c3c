//! Descriptors that clients send although no one asked for them (`SCM_RIGHTS`, unix(7)).
//!
//! The kernel would close what a plain read does not take, on the reading thread; and closing a TCP
//! socket with SO_LINGER and unsent data blocks until the linger is over (socket(7)). So all of them are
//! received, and closed on threads of their own.

mod message;

pub(super) use message::{MAX_FDS, Next, Received, look, receive};

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

use super::budget::{Numbers, Taken, cores};
use crate::threads::Threads;
use message::SPARE_FDS;

/// So many are received where numbers are short, [`SPARE_FDS`] among them: more than any request may bring.
const FEW_FDS: usize = 20;

/// At most this many closes may hang, as those of files of a hung mount do.
const MAX_CLOSES: usize = 16;

/// While more than this wait to be closed, no more are received.
const MAX_WAITING: usize = 2 * MAX_FDS;

/// Closes what strangers send. Clones share the threads.
#[derive(Clone)]
pub(crate) struct Strangers {
    threads: Threads,
    numbers: Numbers,
    /// As many as all that read and close may receive at the same time.
    enough: usize,
    waiting: Arc<AtomicUsize>,
    /// How many receive elsewhere, or wait for that.
    receiving: Arc<AtomicUsize>,
    pauses: Arc<AtomicUsize>,
}

/// One of those that are counted, until dropped.
pub(crate) struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn one(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Strangers {
    /// `numbers` are those that what is sent may take.
    ///
    /// # Errors
    /// The kernel has no thread.
    pub(crate) fn new(numbers: Numbers) -> io::Result<Self> {
        Ok(Self {
            threads: Threads::start("sockproc-close", MAX_CLOSES)?,
            numbers,
            enough: MAX_FDS * (cores() + MAX_CLOSES + 1),
            waiting: Arc::default(),
            receiving: Arc::default(),
            pauses: Arc::default(),
        })
    }

    /// Whether a read might bring more descriptors than may come now.
    pub(crate) fn are_too_many(&self) -> bool {
        self.are_numbers_short() || !self.is_room()
    }

    /// Whether there may be too few for all that can be received at the same time.
    fn are_numbers_short(&self) -> bool {
        self.numbers.free() < self.enough + self.waiting.load(Relaxed)
    }

    /// Whether more descriptors may come: those of one client are not to use up those of the server.
    pub(crate) fn is_room(&self) -> bool {
        let most = MAX_WAITING.min(self.numbers.free() / 4);
        self.waiting.load(Relaxed) <= most
            && self.receiving.load(Relaxed) < MAX_CLOSES
            && self.pauses.load(Relaxed) == 0
            && self.numbers.are_there()
    }

    /// Resolves when more descriptors may come, and not at once.
    pub(crate) async fn room(&self) {
        // Many may wait for long, as for a dead mount.
        const LONGEST: Duration = Duration::from_millis(64);
        let mut pause = Duration::from_millis(1);
        loop {
            tokio::time::sleep(pause).await;
            if self.is_room() {
                return;
            }
            pause = LONGEST.min(pause * 2);
        }
    }

    /// Has a thread receive descriptors where numbers are short; `receive` is told how many, and what it
    /// is given belongs to those. False if none may come now.
    pub(crate) fn receive_elsewhere(
        &self,
        receive: impl FnOnce(usize, Taken) + Send + 'static,
    ) -> bool {
        let taken = self.is_room().then(|| self.numbers.take(FEW_FDS));
        let Some(taken) = taken.flatten() else {
            return false;
        };
        let most = taken.count().saturating_sub(SPARE_FDS);
        let counted = Counted::one(&self.receiving);
        let receive = move || {
            receive(most, taken);
            drop(counted);
        };
        self.threads.run(receive, drop);
        true
    }

    /// Keeps more descriptors from coming for as long as the result lives: there are too few for what the
    /// server itself has to do.
    pub(crate) fn pause(&self) -> Counted {
        Counted::one(&self.pauses)
    }

    /// Closes the descriptors that one read has brought; returns how many bytes it has.
    pub(crate) fn close_received(&self, received: Received) -> usize {
        self.close(received.fds, received.taken);
        received.len
    }

    /// Closes descriptors on threads of their own, and then drops what their numbers belong to.
    pub(crate) fn close(&self, fds: Vec<OwnedFd>, taken: impl Send + 'static) {
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
            drop(taken);
        };
        self.threads.run(close, drop);
    }

    /// Closes a unix socket to which no more can come, and the descriptors that wait in it; these on threads
    /// of their own.
    pub(crate) fn close_unread(&self, socket: impl AsFd + Send + 'static) {
        let mut buffer = [0; 4096];
        loop {
            match look(&socket, &mut buffer) {
                Ok(Next::Bytes(1..)) => drop(receive(&socket, &mut buffer, 0)),
                Ok(Next::Descriptors) => return self.close_elsewhere(socket),
                Ok(Next::Bytes(0)) | Err(_) => return,
            }
        }
    }

    /// As [`close_unread`](Self::close_unread), and nothing is read here: another thread may do that.
    pub(crate) fn close_elsewhere(&self, socket: impl AsFd + Send + 'static) {
        let (strangers, counted) = (self.clone(), Counted::one(&self.waiting));
        let close = move || {
            // Where numbers are short, closing the socket has to do: the kernel then waits for each of
            // those that linger.
            while !strangers.are_numbers_short()
                && let Ok(received) = receive(&socket, &mut [0; 4096], MAX_FDS)
                && received.len > 0
            {
                received.fds.into_iter().for_each(close_now);
            }
            drop((socket, counted));
        };
        self.threads.run(close, drop);
    }
}

/// Closes what may linger, on a thread that may wait for that.
pub(super) fn close_now(fd: OwnedFd) {
    // Fails for all but sockets, which are what lingers.
    let _ = set_socket_linger(&fd, Some(Duration::ZERO));
    drop(fd);
}
