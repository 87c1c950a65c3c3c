//! The reading side of a unix socket. Where numbers for descriptors are short, another thread may have to
//! read in its place: the kernel closes at once what it has no number for, and that may last for long.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use tokio::sync::{Notify, OwnedSemaphorePermit};

use crate::server::budget::Taken;
use crate::server::strangers::{MAX_FDS, Next, Received, Strangers, close_now, look, receive};

/// The most bytes that are read together with descriptors where another thread does it.
const ELSEWHERE_LEN: usize = 4096;

/// A socket, and what another thread has read from it.
pub(super) struct Socket {
    fd: OwnedFd,
    /// Behind `fd`, which is closed first, perhaps by another thread.
    _permit: Option<OwnedSemaphorePermit>,
    state: Mutex<State>,
    /// Told when another thread has read.
    has_read: Notify,
}

#[derive(Default)]
enum State {
    #[default]
    Here,
    /// Descriptors come next, and none may come now.
    NoRoom,
    /// Another thread receives them.
    Elsewhere,
    /// What that has read, and no one has taken yet.
    Read(Vec<u8>, Received),
    Failed(Errno),
    /// No one reads any more.
    Over,
}

impl Socket {
    pub(super) fn new(fd: OwnedFd, permit: Option<OwnedSemaphorePermit>) -> Arc<Self> {
        Arc::new(Self {
            fd,
            _permit: permit,
            state: Mutex::default(),
            has_read: Notify::new(),
        })
    }

    /// Reads what is there now into `buffer`, which is not empty; fails with `AGAIN` if there is nothing,
    /// or nothing may be read yet: see [`changed`](Self::changed).
    pub(super) fn receive(
        self: &Arc<Self>,
        strangers: &Strangers,
        buffer: &mut [u8],
    ) -> rustix::io::Result<Received> {
        let mut state = self.lock();
        match std::mem::take(&mut *state) {
            State::Here | State::NoRoom => {}
            State::Failed(errno) => return Err(errno),
            State::Read(data, received) => return Ok(take(data, received, &mut state, buffer)),
            before @ (State::Elsewhere | State::Over) => {
                *state = before;
                return Err(Errno::AGAIN);
            }
        }
        if !strangers.are_too_many() {
            return receive(&self.fd, buffer, MAX_FDS);
        }
        match look(&self.fd, buffer)? {
            Next::Bytes(0) => return Ok(Received::default()),
            // No more than that: what has come meanwhile may bring some.
            Next::Bytes(len) => return receive(&self.fd, &mut buffer[..len], 0),
            Next::Descriptors => {
                let (socket, len) = (self.clone(), buffer.len().min(ELSEWHERE_LEN));
                let receive = move |most, taken| socket.receive_here(len, most, taken);
                *state = match strangers.receive_elsewhere(receive) {
                    true => State::Elsewhere,
                    false => State::NoRoom,
                };
            }
        }
        Err(Errno::AGAIN)
    }

    /// Reads on a thread that may wait, for who takes it later.
    fn receive_here(&self, len: usize, most: usize, taken: Taken) {
        let mut data = vec![0; len];
        let read = || receive(&self.fd, &mut data, most);
        let received = rustix::io::retry_on_intr(read);
        let mut state = self.lock();
        if matches!(*state, State::Over) {
            drop(state);
            let fds = received.map(|received| received.fds).unwrap_or_default();
            fds.into_iter().for_each(close_now);
            return;
        }
        *state = match received {
            Ok(mut received) => {
                data.truncate(received.len);
                received.taken = Some(taken);
                State::Read(data, received)
            }
            Err(errno) => State::Failed(errno),
        };
        drop(state);
        self.has_read.notify_one();
    }

    /// Whether what can be read does not depend on what comes: see [`changed`](Self::changed).
    pub(super) fn is_blocked(&self) -> bool {
        !matches!(*self.lock(), State::Here | State::Over)
    }

    /// Resolves when a read that [was blocked](Self::is_blocked) may be so no longer.
    pub(super) async fn changed(&self, strangers: &Strangers) {
        let is_elsewhere = match *self.lock() {
            State::Elsewhere => true,
            State::NoRoom => false,
            // It has read meanwhile.
            _ => return,
        };
        match is_elsewhere {
            true => self.has_read.notified().await,
            false => strangers.room().await,
        }
    }

    /// Bytes that have come and were not taken; `None` while another thread reads.
    pub(super) fn unread(&self) -> Option<u64> {
        let taken = match &*self.lock() {
            State::Elsewhere => return None,
            State::Read(data, _) => data.len() as u64,
            _ => 0,
        };
        Some(taken + rustix::io::ioctl_fionread(&self.fd).unwrap_or(0))
    }

    /// No one reads any more. Returns what was read and not taken, and whether another thread still reads.
    pub(super) fn end(&self) -> (Received, bool) {
        match std::mem::replace(&mut *self.lock(), State::Over) {
            State::Read(_, received) => (received, false),
            State::Elsewhere => (Received::default(), true),
            _ => (Received::default(), false),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The beginning of what was read, with all descriptors; the rest is `state`.
fn take(data: Vec<u8>, received: Received, state: &mut State, buffer: &mut [u8]) -> Received {
    let len = data.len().min(buffer.len());
    buffer[..len].copy_from_slice(&data[..len]);
    if len < data.len() {
        *state = State::Read(data[len..].to_vec(), Received::default());
    }
    Received { len, ..received }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
