//! Waiting on one descriptor, so that Ctrl-C and deadlines are heeded.

use std::io::ErrorKind;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use pyo3::prelude::*;
use sockproc_core::connection::{self, Deadline, Interest};

/// The end of a call that may take this many seconds. `None`, and more seconds than a clock can count, are
/// no deadline.
pub(crate) fn deadline(seconds: Option<f64>) -> Deadline {
    Deadline::after(seconds.and_then(|s| Duration::try_from_secs_f64(s.max(0.0)).ok()))
}

/// Waits, letting other Python threads run, until `fd` is ready for `interest`, `pause` is over or
/// the deadline has passed; returns what is ready, `None` at the deadline.
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
    let until = Deadline::after(pause);
    loop {
        py.check_signals()?;
        if deadline.has_passed() {
            return Ok(None);
        }
        if until.has_passed() {
            return Ok(Some(Interest::NONE));
        }
        let soonest = deadline
            .or_earlier(until)
            .or_earlier(Deadline::after(slice));
        match py.detach(|| connection::wait(fd, interest, soonest)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Ok(Interest::NONE) => {}
            ready => return Ok(Some(ready?)),
        }
    }
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
