//! How long a run may take, and how much it may write.

use std::num::NonZeroU64;

/// How long a run may take, and how much it may write. `None`: no limit, or the server's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct Limits {
    /// From the start of the command to its end.
    pub timeout: Option<Millis>,
    /// Without any output, counted only while the server reads it.
    pub idle_timeout: Option<Millis>,
    /// From the whole request to the start of the command.
    pub queue_timeout: Option<Millis>,
    /// From SIGTERM to SIGKILL when the run is ended.
    pub grace: Option<Millis>,
    /// After the leader's exit, the longest that streams are read which others still hold.
    pub linger: Option<Millis>,
    /// Bytes of both output streams together.
    pub max_output: Option<u64>,
    /// What happens past [`max_output`](Self::max_output).
    pub past_max: PastMax,
}

/// What happens to a run that writes more than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PastMax {
    /// It is ended with its whole tree.
    #[default]
    Kill,
    /// It goes on; what it writes more is read, counted and thrown away.
    Discard,
}

/// A duration in milliseconds, at least 1 and at most [`Millis::MAX`]. A protocol names no clock, so
/// this is a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(NonZeroU64);

impl Millis {
    /// The longest, almost 35 years: what is longer means this.
    pub const MAX: u64 = 1 << 40;

    /// `ms` milliseconds, or [`MAX`](Self::MAX) if that is less; `None` for 0.
    #[must_use]
    pub fn new(ms: u64) -> Option<Self> {
        NonZeroU64::new(ms.min(Self::MAX)).map(Self)
    }

    /// As [`new`](Self::new), but 0 becomes 1.
    #[must_use]
    pub fn at_least_one(ms: u64) -> Self {
        Self(NonZeroU64::new(ms.min(Self::MAX)).unwrap_or(NonZeroU64::MIN))
    }

    /// The number of milliseconds.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_at_least_1_ms_and_at_most_2_to_the_40() {
        assert_eq!(Millis::new(0), None);
        assert_eq!(Millis::new(1).map(Millis::get), Some(1));
        assert_eq!(Millis::new(u64::MAX).map(Millis::get), Some(1 << 40));
    }
}
