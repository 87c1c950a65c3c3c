//! Descriptors in tokio's reactor.

use std::io;
#[cfg(feature = "server")]
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;

#[cfg(feature = "server")]
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Watches a non-blocking descriptor of ours.
///
/// tokio 1.54 makes its constructors `unsafe` because an `AsRawFd` may lie about its descriptor. What
/// this crate hands in owns one descriptor, or borrows its owner, and keeps it to the end: here the
/// older, deprecated constructor is as sound, and `unsafe` stays in one file.
#[allow(deprecated)]
pub(crate) fn watch<T: AsRawFd>(source: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(source, interest)
}

/// As [`watch`]; returns what the reactor does not take.
#[allow(deprecated)]
#[cfg(feature = "server")]
pub(crate) fn try_watch<T: AsRawFd>(
    source: T,
    interest: Interest,
) -> Result<AsyncFd<T>, (T, io::Error)> {
    AsyncFd::try_with_interest(source, interest).map_err(|refused| refused.into_parts())
}

/// What `fd` is ready for at this moment, of `flags` and of what poll(2) always tells.
#[cfg(feature = "server")]
pub(crate) fn ready_now(fd: impl AsFd, flags: PollFlags) -> PollFlags {
    let mut fds = [PollFd::new(&fd, flags)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    match poll(&mut fds, Some(&now)) {
        Ok(_) => fds[0].revents(),
        Err(_) => PollFlags::empty(),
    }
}
