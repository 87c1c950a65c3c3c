//! A line on the terminal that says that the server has not started the command yet.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::connection::Deadline;

/// Shown after a while, and ended by a new line: deleting it could delete what the command wrote.
#[derive(Debug)]
pub(super) struct WaitingLine {
    since: Instant,
    /// How many seconds were shown; `None` once there is nothing to show.
    shown: Option<u64>,
}

impl WaitingLine {
    /// Begins to wait. There is no line where stderr is no terminal.
    pub(super) fn begin() -> Self {
        Self {
            since: Instant::now(),
            shown: io::stderr().is_terminal().then_some(0),
        }
    }

    /// When the line changes next.
    pub(super) fn deadline(&self) -> Deadline {
        let next = self.shown.map(|shown| Duration::from_secs(shown + 1));
        let left = next.map(|next| next.saturating_sub(self.since.elapsed()));
        left.map_or(Deadline::NEVER, |left| Deadline::after(Some(left)))
    }

    /// Shows how long it has been.
    pub(super) fn update(&mut self) {
        let seconds = self.since.elapsed().as_secs();
        if let Some(shown) = &mut self.shown
            && *shown < seconds
        {
            *shown = seconds;
            say(&format!("\rsockproc: waiting for the server: {seconds} s"));
        }
    }

    /// The wait is over.
    pub(super) fn end(&mut self) {
        if let Some(1..) = self.shown.take() {
            say("\n");
        }
    }
}

impl Drop for WaitingLine {
    fn drop(&mut self) {
        self.end();
    }
}

/// A terminal that has gone changes nothing.
fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}
