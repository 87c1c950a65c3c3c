//! The signals that come to us while the command runs.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGWINCH};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;

use crate::process::is_default;

/// What is passed on to the command.
const PASSED_ON: [i32; 4] = [SIGINT, SIGTERM, SIGHUP, SIGQUIT];

/// What tells that our terminal has changed.
const OF_TERMINAL: [i32; 2] = [SIGWINCH, SIGCONT];

/// Signals that wait in a descriptor.
pub(super) struct Signals(SignalDelivery<UnixStream, SignalOnly>);

impl Signals {
    /// Catches what is to be passed on, but for what this process ignores, as under nohup(1).
    pub(super) fn catch() -> io::Result<Self> {
        let passed_on = PASSED_ON.into_iter().filter(|signal| is_default(*signal));
        let (read, write) = UnixStream::pair()?;
        let signals = passed_on.chain(OF_TERMINAL);
        SignalDelivery::with_pipe(read, write, SignalOnly, signals).map(Self)
    }

    /// Those that have come. Which came first is not known, nor how often each.
    pub(super) fn take(&mut self) -> Vec<Caught> {
        let caught = |signal| match OF_TERMINAL.contains(&signal) {
            true => Caught::TerminalChange,
            false => Caught::ToPassOn(signal),
        };
        self.0.pending().map(caught).collect()
    }
}

/// Readable when a signal has come.
impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_read().as_fd()
    }
}

/// A signal that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caught {
    ToPassOn(i32),
    /// Our terminal may have another size, or other settings.
    TerminalChange,
}

/// Counts how often Ctrl-C is pressed.
#[derive(Debug, Default)]
pub(super) struct Interrupts {
    last: Option<Instant>,
    in_a_row: u32,
}

impl Interrupts {
    /// How many SIGINTs have come, this one included, with less than a second between any two. 0 for
    /// other signals.
    pub(super) fn count(&mut self, signal: i32, now: Instant) -> u32 {
        if signal != SIGINT {
            return 0;
        }
        let is_soon = |last| now.duration_since(last) < IN_A_ROW;
        self.in_a_row = match self.last.is_some_and(is_soon) {
            true => self.in_a_row.saturating_add(1),
            false => 1,
        };
        self.last = Some(now);
        self.in_a_row
    }
}

/// A SIGINT so soon after another means more than the first.
const IN_A_ROW: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interrupts_are_in_a_row_with_less_than_a_second_between() {
        let mut interrupts = Interrupts::default();
        let start = Instant::now();
        let mut at = |signal, ms| interrupts.count(signal, start + Duration::from_millis(ms));
        assert_eq!(at(SIGINT, 0), 1);
        assert_eq!(at(SIGTERM, 10), 0);
        assert_eq!(at(SIGINT, 900), 2);
        assert_eq!(at(SIGINT, 1_800), 3);
        assert_eq!(at(SIGINT, 2_900), 1);
    }
}
