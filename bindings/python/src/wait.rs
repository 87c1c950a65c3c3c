//! Waiting on one descriptor by poll(2), so that Ctrl-C and deadlines are heeded.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use sockproc_core::connection::Interest;

/// When to stop waiting.
#[derive(Clone, Copy)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    /// `None`, and more seconds than a clock can count, are no deadline.
    pub(crate) fn after(seconds: Option<f64>) -> Self {
        let timeout = seconds.and_then(|s| Duration::try_from_secs_f64(s.max(0.0)).ok());
        Self(timeout.and_then(|timeout| Instant::now().checked_add(timeout)))
    }

    /// The time left: `None` without a deadline, zero when it has passed.
    fn left(self) -> Option<Duration> {
        Some(self.0?.saturating_duration_since(Instant::now()))
    }
}

/// Waits, letting other Python threads run, until `fd` is ready for `interest`, `pause` is over or
/// the deadline has passed; gives what is ready, `None` at the deadline.
///
/// # Errors
/// What a Python signal handler raised.
pub(crate) fn wait(
    py: Python<'_>,
    fd: BorrowedFd<'_>,
    interest: Interest,
    pause: Option<Duration>,
    deadline: Deadline,
) -> PyResult<Option<Interest>> {
    let slice = hears_signals().then_some(SIGNAL_SLICE);
    let until = Deadline(pause.and_then(|pause| Instant::now().checked_add(pause)));
    loop {
        py.check_signals()?;
        if deadline.left().is_some_and(|left| left.is_zero()) {
            return Ok(None);
        }
        if until.left().is_some_and(|left| left.is_zero()) {
            return Ok(Some(Interest::default()));
        }
        let timeout = [deadline.left(), until.left(), slice]
            .into_iter()
            .flatten()
            .min();
        let ready = py.detach(|| poll_once(fd, interest, timeout))?;
        if ready != Interest::default() {
            return Ok(Some(ready));
        }
    }
}

fn poll_once(
    fd: BorrowedFd<'_>,
    interest: Interest,
    timeout: Option<Duration>,
) -> std::io::Result<Interest> {
    let mut flags = PollFlags::empty();
    flags.set(PollFlags::IN, interest.readable);
    flags.set(PollFlags::OUT, interest.writable);
    let mut fds = [PollFd::from_borrowed_fd(fd, flags)];
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    match poll(&mut fds, timeout.as_ref()) {
        Ok(0) | Err(Errno::INTR) => return Ok(Interest::default()),
        Ok(_) => {}
        Err(error) => return Err(error.into()),
    }
    // An error or a hang-up is found out by reading and writing.
    let found = fds[0].revents();
    let broken = found.intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL);
    Ok(Interest {
        readable: interest.readable && (broken || found.contains(PollFlags::IN)),
        writable: interest.writable && (broken || found.contains(PollFlags::OUT)),
    })
}

/// Python runs signal handlers on its main thread, which is nearly always the process's first.
fn hears_signals() -> bool {
    #[cfg(target_os = "linux")]
    return rustix::thread::gettid() == rustix::process::getpid();
    #[cfg(not(target_os = "linux"))]
    return true;
}

/// A signal that comes just before poll(2) begins, or to another thread, interrupts nothing: look
/// again this soon.
const SIGNAL_SLICE: Duration = Duration::from_millis(40);
