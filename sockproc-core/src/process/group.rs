//! Signals to a whole process group.

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};

/// The process group of a leader that has not been reaped, so that its number is still its own.
#[derive(Clone, Copy)]
pub(crate) struct Group(Pid);

impl Group {
    pub(super) fn of_leader(leader: Pid) -> Self {
        Self(leader)
    }

    /// Sends `signal` to every member that there is.
    pub(crate) fn signal(self, signal: Signal) {
        match kill_process_group(self.0, signal) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => {
                tracing::warn!(group = %self.0.as_raw_nonzero(), ?signal, %error, "cannot signal")
            }
        }
    }
}
