//! How long a driver waits for a run: the client's clock, and then the server's.

use std::time::Duration;

use super::{Connection, Deadline, Receiver};
use crate::Error;

/// Until a native server has started the command, the client's own clock counts. From then on the server
/// ends the run at its timeout, and has the output that came until then: the client waits for that.
#[derive(Debug)]
pub(crate) struct TimeLimit {
    timeout: Option<Duration>,
    deadline: Deadline,
    is_the_servers: bool,
}

impl TimeLimit {
    /// A run that may take `timeout` from now.
    pub(crate) fn new(timeout: Option<Duration>) -> Self {
        Self {
            timeout,
            deadline: Deadline::after(timeout),
            is_the_servers: false,
        }
    }

    /// When to give `run` up, as things stand.
    pub(crate) fn deadline<R: Receiver>(&mut self, run: &Connection<R>) -> Deadline {
        if let Some(timeout) = self.timeout
            && !self.is_the_servers
            && run.server_keeps_time()
        {
            self.is_the_servers = true;
            let grace = run.grace().saturating_add(SLACK);
            self.deadline = Deadline::after(Some(timeout.saturating_add(grace)));
        }
        self.deadline
    }

    /// # Errors
    /// [`Error::Timeout`] if it is time to give `run` up.
    pub(crate) fn check<R: Receiver>(&mut self, run: &Connection<R>) -> Result<(), Error> {
        let is_over = self.deadline(run).has_passed();
        match self.timeout {
            Some(timeout) if is_over => Err(run.timed_out(timeout)),
            _ => Ok(()),
        }
    }
}

/// What a server may be late by; past it, it hangs.
const SLACK: Duration = Duration::from_secs(5);
