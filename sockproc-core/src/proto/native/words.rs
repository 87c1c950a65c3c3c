//! Words of fixed meaning in EXITED and REFUSED, which are also what these values are called.

use std::fmt;

use super::record::{self, Words};
use crate::proto::{EndedBy, Reach, RefusalKind};

pub(super) const KINDS: [(&str, RefusalKind); 9] = [
    ("busy", RefusalKind::Busy),
    ("queue-timeout", RefusalKind::QueueTimeout),
    ("policy", RefusalKind::Policy),
    ("bad-request", RefusalKind::BadRequest),
    ("cannot-spawn", RefusalKind::CannotSpawn),
    ("unsupported", RefusalKind::Unsupported),
    ("shutting-down", RefusalKind::ShuttingDown),
    ("cancelled", RefusalKind::Cancelled),
    ("other", RefusalKind::Other),
];

pub(super) const ENDS: [(&str, EndedBy); 6] = [
    ("timeout", EndedBy::Timeout),
    ("idle-timeout", EndedBy::IdleTimeout),
    ("output-limit", EndedBy::OutputLimit),
    ("cancel", EndedBy::Cancel),
    ("shutdown", EndedBy::Shutdown),
    ("other", EndedBy::Other),
];

pub(super) const TREES: [(&str, Reach); 2] = [("cgroup", Reach::Cgroup), ("links", Reach::Links)];

/// The word of the native protocol.
impl fmt::Display for RefusalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(named(&KINDS, *self))
    }
}

/// The word of the native protocol.
impl fmt::Display for EndedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(named(&ENDS, *self))
    }
}

/// The word of the native protocol.
impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(named(&TREES, *self))
    }
}

fn named<T: Copy + PartialEq>(words: &Words<T>, meaning: T) -> &'static str {
    record::word(words, meaning).unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_called_as_on_the_wire() {
        assert_eq!(RefusalKind::CannotSpawn.to_string(), "cannot-spawn");
        assert_eq!(EndedBy::IdleTimeout.to_string(), "idle-timeout");
        assert_eq!(Reach::Links.to_string(), "links");
    }
}
