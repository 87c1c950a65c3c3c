//! What frames there are, and how they are written: `type:u8 length:u32be payload`.

use bytes::{BufMut, Bytes, BytesMut};

use crate::proto::Stream;

/// The length of a frame's header.
pub const HEADER_LEN: usize = 5;

/// The type of a frame and the length of what follows.
pub type Header = [u8; HEADER_LEN];

/// The longest payload of STDIN, STDOUT and STDERR.
pub const MAX_DATA_LEN: usize = 256 * 1024;

/// The longest payload of RUN.
pub const MAX_RUN_LEN: usize = 2 * 1024 * 1024;

/// The longest payload of any other frame.
pub const MAX_CONTROL_LEN: usize = 4096;

/// What a frame is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum FrameType {
    Run = 0x01,
    Stdin = 0x02,
    StdinEnd = 0x03,
    Signal = 0x04,
    Cancel = 0x05,
    Started = 0x11,
    Stdout = 0x12,
    Stderr = 0x13,
    StdoutEnd = 0x14,
    StderrEnd = 0x15,
    Credit = 0x16,
    StdinClosed = 0x17,
    Exited = 0x18,
    Refused = 0x19,
    Error = 0x1a,
}

impl FrameType {
    const ALL: [(Self, &'static str); 15] = [
        (Self::Run, "RUN"),
        (Self::Stdin, "STDIN"),
        (Self::StdinEnd, "STDIN_END"),
        (Self::Signal, "SIGNAL"),
        (Self::Cancel, "CANCEL"),
        (Self::Started, "STARTED"),
        (Self::Stdout, "STDOUT"),
        (Self::Stderr, "STDERR"),
        (Self::StdoutEnd, "STDOUT_END"),
        (Self::StderrEnd, "STDERR_END"),
        (Self::Credit, "CREDIT"),
        (Self::StdinClosed, "STDIN_CLOSED"),
        (Self::Exited, "EXITED"),
        (Self::Refused, "REFUSED"),
        (Self::Error, "ERROR"),
    ];

    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|(kind, _)| *kind as u8 == byte)
            .map(|(kind, _)| kind)
    }

    /// The frame of a stream's bytes.
    pub(super) const fn data(stream: Stream) -> Self {
        match stream {
            Stream::Stdout => Self::Stdout,
            Stream::Stderr => Self::Stderr,
        }
    }

    /// The frame of a stream's end.
    pub(super) const fn end(stream: Stream) -> Self {
        match stream {
            Stream::Stdout => Self::StdoutEnd,
            Stream::Stderr => Self::StderrEnd,
        }
    }

    /// The name in PROTOCOL.md.
    pub(super) fn name(self) -> &'static str {
        let mut all = Self::ALL.into_iter();
        all.find(|(kind, _)| *kind == self)
            .map_or("", |(_, name)| name)
    }

    /// Whether clients send it; servers send all others.
    pub(super) const fn is_from_client(self) -> bool {
        (self as u8) < Self::Started as u8
    }

    /// Whether its payload is bytes of a stream; otherwise it is records.
    pub(super) const fn is_data(self) -> bool {
        matches!(self, Self::Stdin | Self::Stdout | Self::Stderr)
    }

    pub(super) const fn max_len(self) -> usize {
        match self {
            Self::Run => MAX_RUN_LEN,
            _ if self.is_data() => MAX_DATA_LEN,
            _ => MAX_CONTROL_LEN,
        }
    }
}

/// The header of a frame whose payload has `len` bytes, at most its type's.
pub(super) fn header(kind: FrameType, len: usize) -> Header {
    debug_assert!(len <= kind.max_len());
    let [.., a, b, c, d] = (len as u64).to_be_bytes();
    [kind as u8, a, b, c, d]
}

/// A whole frame.
pub(super) fn frame(kind: FrameType, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(HEADER_LEN + payload.len());
    frame.put_slice(&header(kind, payload.len()));
    frame.put_slice(payload);
    frame.freeze()
}
