//! The values of RUN's records.

use std::ops::RangeInclusive;

use bytes::Bytes;

use super::record::{self, RecordWriter, Words};
use crate::proto::{Identity, Millis, OnDisconnect, PastMax, StreamMode};

/// What stderr may be; the other streams may be all of this but the last.
pub(super) const STDERR: [(&str, StreamMode); 5] = [
    ("null", StreamMode::Null),
    ("frames", StreamMode::Piped),
    ("fd", StreamMode::Descriptor),
    ("closed", StreamMode::Closed),
    ("stdout", StreamMode::Stdout),
];

pub(super) const PAST_MAX: [(&str, PastMax); 2] =
    [("kill", PastMax::Kill), ("discard", PastMax::Discard)];

pub(super) const ON_DISCONNECT: [(&str, OnDisconnect); 2] = [
    ("kill", OnDisconnect::Kill),
    ("finish", OnDisconnect::Finish),
];

/// Bounds of a number, and how they are told.
pub(super) type Bounds = (RangeInclusive<u32>, &'static str);

/// A descriptor that is no standard stream; Linux has no greater ones unless told (`fs.nr_open`).
pub(super) const FD: Bounds = (3..=1_048_575, "it must be a number from 3 to 1048575");

/// A process group; 0 is the run's own.
pub(super) const PID: Bounds = (0..=0x7fff_ffff, "it must be a number from 0 to 2147483647");

/// A file mode creation mask.
pub(super) const MASK: Bounds = (0..=0o777, "it must be a decimal number from 0 to 511");

/// A user or a group; the one that is missing means "as it is" to setresuid(2).
pub(super) const ID: Bounds = (0..=0xffff_fffe, "it must be a number from 0 to 4294967294");

/// A signal.
pub(super) const SIGNAL: Bounds = (1..=64, "it must be a number from 1 to 64");

pub(super) fn number(value: &[u8], bounds: Bounds) -> Result<u32, &'static str> {
    let (range, why) = bounds;
    let number = record::number(value).and_then(|number| u32::try_from(number).ok());
    number.filter(|number| range.contains(number)).ok_or(why)
}

/// A number of bytes.
pub(super) fn count(value: &[u8]) -> Result<u64, &'static str> {
    let number = record::number(value).filter(|number| i64::try_from(*number).is_ok());
    number.ok_or("it must be a number of bytes, less than 2^63")
}

pub(super) fn millis(value: &[u8]) -> Result<Millis, &'static str> {
    let number = record::number(value).and_then(Millis::new);
    number.ok_or("it must be a number of milliseconds, at least 1")
}

pub(super) fn flag(value: &[u8]) -> Result<bool, &'static str> {
    record::flag(value).ok_or("it must be 0 or 1")
}

pub(super) fn mode(value: &[u8]) -> Result<StreamMode, &'static str> {
    record::meaning(&STDERR, value)
        .filter(|mode| *mode != StreamMode::Stdout)
        .ok_or("it must be null, frames, fd or closed")
}

pub(super) fn stderr_mode(value: &[u8]) -> Result<StreamMode, &'static str> {
    record::meaning(&STDERR, value).ok_or("it must be null, frames, fd, closed or stdout")
}

pub(super) fn past_max(value: &[u8]) -> Result<PastMax, &'static str> {
    record::meaning(&PAST_MAX, value).ok_or("it must be kill or discard")
}

pub(super) fn on_disconnect(value: &[u8]) -> Result<OnDisconnect, &'static str> {
    record::meaning(&ON_DISCONNECT, value).ok_or("it must be kill or finish")
}

/// `NAME=value`.
pub(super) fn variable(value: Bytes) -> Result<Bytes, &'static str> {
    match value.iter().position(|&byte| byte == b'=') {
        Some(1..) => Ok(value),
        _ => Err("it must be NAME=value"),
    }
}

pub(super) fn variable_name(value: Bytes) -> Result<Bytes, &'static str> {
    if value.is_empty() || value.contains(&b'=') {
        return Err("it must be a name without =");
    }
    Ok(value)
}

/// One more group; an empty value alone stands for no group at all.
pub(super) fn supplementary_group(
    identity: &mut Identity,
    value: &[u8],
) -> Result<(), &'static str> {
    match (&mut identity.supplementary_groups, value.is_empty()) {
        (none @ None, true) => *none = Some(Vec::new()),
        (none @ None, false) => *none = Some(vec![number(value, ID)?]),
        (Some(groups), false) if !groups.is_empty() => groups.push(number(value, ID)?),
        _ => return Err("an empty value must be the only one"),
    }
    Ok(())
}

/// Where the records of one name are written.
pub(super) struct Written<'a> {
    name: &'static str,
    records: &'a mut RecordWriter,
}

impl<'a> Written<'a> {
    pub(super) fn new(name: &'static str, records: &'a mut RecordWriter) -> Self {
        Self { name, records }
    }

    pub(super) fn bytes(self, value: &[u8]) {
        self.records.put(self.name, value);
    }

    pub(super) fn some(self, value: &Option<Bytes>) {
        if let Some(value) = value {
            self.bytes(value);
        }
    }

    pub(super) fn each(self, values: &[Bytes]) {
        for value in values {
            self.records.put(self.name, value);
        }
    }

    pub(super) fn flag(self, is_set: bool) {
        if is_set {
            self.bytes(b"1");
        }
    }

    pub(super) fn number(self, number: Option<impl Into<u64>>) {
        if let Some(number) = number {
            self.records.put_number(self.name, number);
        }
    }

    pub(super) fn numbers(self, numbers: &[u32]) {
        for number in numbers {
            self.records.put_number(self.name, *number);
        }
    }

    pub(super) fn millis(self, millis: Option<Millis>) {
        self.number(millis.map(Millis::get));
    }

    pub(super) fn word<T: Copy + PartialEq>(self, words: &Words<T>, meaning: T) {
        if let Some(word) = record::word(words, meaning) {
            self.bytes(word.as_bytes());
        }
    }

    /// Writes a word that is not the default.
    pub(super) fn word_unless<T: Copy + PartialEq>(self, words: &Words<T>, meaning: T, default: T) {
        if meaning != default {
            self.word(words, meaning);
        }
    }
}
