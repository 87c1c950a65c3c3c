//! Descriptors in tokio's reactor.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Watches a non-blocking descriptor of ours.
///
/// tokio 1.54 makes its constructors `unsafe` because an `AsRawFd` may lie about its descriptor. An
/// `OwnedFd` cannot, and `AsyncFd` hands out no way to replace it through a shared reference: here
/// the older, deprecated constructor is as sound, and `unsafe` stays in one file.
#[allow(deprecated)]
pub(crate) fn watch(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, interest)
}
