//! Waiting by poll(2): written once, for this crate and for whoever has no event loop.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Interest;

/// The end of a wait: an instant, or never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// There is no end.
    pub const NEVER: Self = Self(None);

    /// `timeout` from now. `None`, and a timeout that no clock can count, never end.
    #[must_use]
    pub fn after(timeout: Option<Duration>) -> Self {
        Self(timeout.and_then(|timeout| Instant::now().checked_add(timeout)))
    }

    /// The time left: `None` if there is no end, zero if it has passed.
    #[must_use]
    pub fn left(self) -> Option<Duration> {
        Some(self.0?.saturating_duration_since(Instant::now()))
    }

    /// Whether the time is up.
    #[must_use]
    pub fn has_passed(self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }

    /// Whichever comes first.
    #[must_use]
    pub fn or_earlier(self, other: Self) -> Self {
        Self(self.0.into_iter().chain(other.0).min())
    }
}

/// Waits until `fd` is ready for something of `interest`, and returns what it is ready for. Nothing of
/// it is ready when the time is up.
///
/// An error or a hang-up counts as readiness: reading and writing tell what it is.
///
/// # Errors
/// The kernel's; `Interrupted` if a signal came.
pub fn wait(fd: impl AsFd, interest: Interest, deadline: Deadline) -> io::Result<Interest> {
    let found = wait_for_each(&[(fd.as_fd(), interest)], deadline)?;
    Ok(found[0])
}

/// As [`wait`], for several descriptors at once.
pub(crate) fn wait_for_each(
    wanted: &[(BorrowedFd<'_>, Interest)],
    deadline: Deadline,
) -> io::Result<Vec<Interest>> {
    let mut fds = Vec::with_capacity(wanted.len());
    for (fd, interest) in wanted {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, interest.readable);
        flags.set(PollFlags::OUT, interest.writable);
        fds.push(PollFd::from_borrowed_fd(*fd, flags));
    }
    // A wait past the kernel's range is cut: nothing is ready then, and the caller asks again.
    let left = deadline.left().map(|left| left.min(LONGEST_WAIT));
    let left = left.and_then(|left| Timespec::try_from(left).ok());
    poll(&mut fds, left.as_ref())?;
    let found = fds.iter().zip(wanted).map(|(fd, (_, wanted))| {
        let events = fd.revents();
        let broken = events.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL);
        Interest {
            readable: wanted.readable && (broken || events.contains(PollFlags::IN)),
            writable: wanted.writable && (broken || events.contains(PollFlags::OUT)),
        }
    });
    Ok(found.collect())
}

const LONGEST_WAIT: Duration = Duration::from_secs(i32::MAX as u64);
