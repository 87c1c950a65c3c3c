//! Frames as bytes: what no session would send, and what a server really answers.

use std::collections::BTreeMap;

use sockproc_core::proto::opening::{GREETING, OPENING};

pub(super) const RUN: u8 = 0x01;
pub(super) const STDIN: u8 = 0x02;
pub(super) const STDIN_END: u8 = 0x03;
pub(super) const SIGNAL: u8 = 0x04;
pub(super) const CANCEL: u8 = 0x05;
pub(super) const STARTED: u8 = 0x11;
pub(super) const STDOUT: u8 = 0x12;
pub(super) const STDOUT_END: u8 = 0x14;
pub(super) const STDERR_END: u8 = 0x15;
pub(super) const CREDIT: u8 = 0x16;
pub(super) const EXITED: u8 = 0x18;
pub(super) const REFUSED: u8 = 0x19;
pub(super) const ERROR: u8 = 0x1a;

/// A frame that claims to be `len` bytes long.
pub(super) fn header(kind: u8, len: u32) -> Vec<u8> {
    [&[kind][..], &len.to_be_bytes()].concat()
}

pub(super) fn frame(kind: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let len = u32::try_from(payload.len()).unwrap();
    [&header(kind, len)[..], payload].concat()
}

/// A frame of these records, with `|` for NUL.
pub(super) fn records(kind: u8, records: &str) -> Vec<u8> {
    frame(kind, records.replace('|', "\0"))
}

/// The opening and a request of these records, with `|` for NUL.
pub(super) fn ask(run: &str) -> Vec<u8> {
    [OPENING, &records(RUN, run)].concat()
}

/// Everything that a server has said on a connection.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) frames: Vec<(u8, Vec<u8>)>,
}

impl Heard {
    /// Reads a greeting and whole frames; nothing else may be there.
    #[track_caller]
    pub(super) fn parse(bytes: &[u8]) -> Heard {
        let shown = bytes[..bytes.len().min(200)].escape_ascii();
        let mut rest = bytes
            .strip_prefix(GREETING)
            .unwrap_or_else(|| panic!("no greeting: {shown}"));
        let mut frames = Vec::new();
        while let Some((header, behind)) = rest.split_at_checked(5) {
            let len = u32::from_be_bytes(header[1..].try_into().unwrap()) as usize;
            let whole = behind.split_at_checked(len);
            let (payload, behind) = whole.unwrap_or_else(|| panic!("half a frame: {shown}"));
            frames.push((header[0], payload.to_vec()));
            rest = behind;
        }
        assert!(rest.is_empty(), "half a header: {shown}");
        Heard { frames }
    }

    pub(super) fn kinds(&self) -> Vec<u8> {
        self.frames.iter().map(|(kind, _)| *kind).collect()
    }

    pub(super) fn has(&self, kind: u8) -> bool {
        self.kinds().contains(&kind)
    }

    /// The payload of all frames of a kind.
    pub(super) fn bytes(&self, kind: u8) -> Vec<u8> {
        let of_kind = self.frames.iter().filter(|(found, _)| *found == kind);
        of_kind.flat_map(|(_, payload)| payload.clone()).collect()
    }

    /// The records of the last frame, which must be of this kind.
    #[track_caller]
    pub(super) fn last(&self, kind: u8) -> BTreeMap<String, String> {
        let (last, payload) = self.frames.last().expect("a frame");
        let text = String::from_utf8_lossy(payload);
        assert_eq!(*last, kind, "{text:?} of {:x?}", self.kinds());
        let records = text.strip_suffix('\0').expect("a NUL at the end");
        let parts = records.split('\0').map(|record| record.split_once('='));
        parts
            .map(|part| part.expect("a ="))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    #[track_caller]
    pub(super) fn assert_error(&self, message: &str) {
        assert_eq!(self.last(ERROR)["message"], message);
    }
}
