//! The reading side of a unix socket. Where numbers for descriptors are short, another thread may have to
//! read in its place: the kernel closes at once what it has no number for, and that may last for long.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use tokio::sync::Notify;

use crate::server::strangers::{MAX_FDS, Next, Received, Strangers, close_now, look, receive};

/// The most bytes that are read together with descriptors where another thread does it.
const ELSEWHERE_LEN: usize = 4096;

/// A socket, and what another thread has read from it.
pub(super) struct Socket {
    fd: OwnedFd,
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
    Read(Vec<u8>, Vec<OwnedFd>, bool),
    Failed(Errno),
    /// No one reads any more.
    Over,
}

impl Socket {
    pub(super) fn new(fd: OwnedFd) -> Arc<Self> {
        Arc::new(Self {
            fd,
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
            State::Here | State::NoRoom | State::Over => {}
            State::Failed(errno) => return Err(errno),
            State::Elsewhere => {
                *state = State::Elsewhere;
                return Err(Errno::AGAIN);
            }
            State::Read(mut data, fds, is_cut) => {
                let len = data.len().min(buffer.len());
                buffer[..len].copy_from_slice(&data[..len]);
                data.drain(..len);
                if !data.is_empty() {
                    *state = State::Read(data, Vec::new(), false);
                }
                return Ok(Received { len, fds, is_cut });
            }
        }
        if !strangers.are_too_many() {
            return receive(&self.fd, buffer, MAX_FDS);
        }
        match look(&self.fd, buffer)? {
            Next::Bytes(0) => return Ok(Received::default()),
            // No more than that: what has come meanwhile may bring some.
            Next::Bytes(len) => return receive(&self.fd, &mut buffer[..len], 0),
            Next::Descriptors if !strangers.is_room() => *state = State::NoRoom,
            Next::Descriptors => {
                *state = State::Elsewhere;
                self.receive_elsewhere(strangers, buffer.len());
            }
        }
        Err(Errno::AGAIN)
    }

    fn receive_elsewhere(self: &Arc<Self>, strangers: &Strangers, len: usize) {
        let socket = self.clone();
        strangers.receive_elsewhere(move |most| {
            let mut buffer = vec![0; len.min(ELSEWHERE_LEN)];
            let read = || receive(&socket.fd, &mut buffer, most);
            let received = rustix::io::retry_on_intr(read);
            let mut state = socket.lock();
            if matches!(*state, State::Over) {
                drop(state);
                let fds = received.map(|received| received.fds).unwrap_or_default();
                fds.into_iter().for_each(close_now);
                return;
            }
            *state = match received {
                Ok(Received { len, fds, is_cut }) => {
                    buffer.truncate(len);
                    State::Read(buffer, fds, is_cut)
                }
                Err(errno) => State::Failed(errno),
            };
            drop(state);
            socket.has_read.notify_one();
        });
    }

    /// Resolves when a read that was not possible may be, although no more has come.
    pub(super) async fn changed(&self, strangers: &Strangers) {
        let is_elsewhere = match *self.lock() {
            State::Here | State::Over => None,
            State::NoRoom => Some(false),
            State::Elsewhere => Some(true),
            State::Read(..) | State::Failed(_) => return,
        };
        match is_elsewhere {
            Some(true) => self.has_read.notified().await,
            Some(false) => strangers.room().await,
            None => std::future::pending().await,
        }
    }

    /// Bytes that have come and were not taken; `None` while another thread reads.
    pub(super) fn unread(&self) -> Option<u64> {
        let taken = match &*self.lock() {
            State::Elsewhere => return None,
            State::Read(data, ..) => data.len() as u64,
            _ => 0,
        };
        Some(taken + rustix::io::ioctl_fionread(&self.fd).unwrap_or(0))
    }

    /// No one reads any more; what was read and not taken is returned.
    pub(super) fn end(&self) -> Vec<OwnedFd> {
        match std::mem::replace(&mut *self.lock(), State::Over) {
            State::Read(_, fds, _) => fds,
            _ => Vec::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
