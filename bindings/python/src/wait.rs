//! Waiting on one descriptor, so that Ctrl-C and deadlines are heeded.

use std::io::ErrorKind;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use pyo3::prelude::*;
use sockproc_core::connection::{self, Deadline, Interest};

/// How long a call waits in all, and how long before it looks for signals.
pub(crate) struct Patience {
    deadline: Deadline,
    slice: Option<Duration>,
}

impl Patience {
    /// For a call of this thread that may take so many seconds. `None`, and more seconds than a clock can
    /// count, are no deadline.
    pub(crate) fn new(seconds: Option<f64>) -> Self {
        let left = seconds.and_then(|s| Duration::try_from_secs_f64(s.max(0.0)).ok());
        Self {
            deadline: Deadline::after(left),
            slice: hears_signals().then_some(SIGNAL_SLICE),
        }
    }

    /// Waits, letting other Python threads run, until `fd` is ready for `interest`, `pause` is over or
    /// the deadline has passed; returns what is ready, `None` at the deadline.
    ///
    /// # Errors
    /// What a Python signal handler raised.
    pub(crate) fn wait(
        &self,
        py: Python<'_>,
        fd: BorrowedFd<'_>,
        interest: Interest,
        pause: Option<Duration>,
    ) -> PyResult<Option<Interest>> {
        let until = Deadline::after(pause);
        loop {
            py.check_signals()?;
            if self.deadline.has_passed() {
                return Ok(None);
            }
            if until.has_passed() {
                return Ok(Some(Interest::NONE));
            }
            let soonest = self
                .deadline
                .or_earlier(until)
                .or_earlier(Deadline::after(self.slice));
            match py.detach(|| connection::wait(fd, interest, soonest)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(Interest::NONE) => {}
                ready => return Ok(Some(ready?)),
            }
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
