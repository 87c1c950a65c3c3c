//! Bytes → frames, as they come.

use bytes::{Buf, Bytes, BytesMut};

use super::frame::{FrameType, HEADER_LEN};
use crate::proto::ProtocolError;

/// Types from here up may come at any time and are skipped.
const FIRST_SKIPPED: u8 = 0x80;

/// What comes out of a [`Deframer`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A frame begins; its payload has this length.
    Header(FrameType, usize),
    /// The next bytes of a data frame, never empty.
    Data(FrameType, Bytes),
    /// The payload of a control frame, whole.
    Control(FrameType, Bytes),
}

/// Takes a stream of bytes apart into frames, looking at each byte once.
///
/// It holds what it was fed and has not told yet. If it is asked until it tells nothing after each
/// feeding, that is at most a part of one control frame.
#[derive(Debug)]
pub(super) struct Deframer {
    buf: BytesMut,
    place: Place,
}

/// Where in a frame the front of the buffer is.
#[derive(Debug, Clone, Copy)]
enum Place {
    Header,
    Data(FrameType, usize),
    Control(FrameType, usize),
    Skipped(usize),
}

impl Deframer {
    pub(super) fn new() -> Self {
        Self {
            buf: BytesMut::new(),
            place: Place::Header,
        }
    }

    pub(super) fn feed(&mut self, data: &[u8]) {
        self.buf.extend_from_slice(data);
    }

    /// Counts `len` bytes of a data frame that went past [`feed`](Self::feed); `false`, and nothing
    /// is counted, if [`direct`](Self::direct) does not allow them.
    pub(super) fn skip_data(&mut self, len: u64) -> bool {
        match (self.direct(), usize::try_from(len)) {
            (Some((kind, left)), Ok(len)) if len <= left => {
                self.place = Place::Data(kind, left - len);
                true
            }
            _ => false,
        }
    }

    /// The next part; `None` when more bytes are needed.
    pub(super) fn next_part(&mut self) -> Result<Option<Part>, ProtocolError> {
        let part = self.find_part();
        if self.buf.is_empty() {
            // A peer that is silent for long takes no memory.
            self.buf = BytesMut::new();
        }
        part
    }

    fn find_part(&mut self) -> Result<Option<Part>, ProtocolError> {
        loop {
            match self.place {
                Place::Header => {
                    let Some((header, _)) = self.buf.split_first_chunk() else {
                        return Ok(None);
                    };
                    let header = *header;
                    self.buf.advance(HEADER_LEN);
                    if let Some(part) = self.begin(header)? {
                        return Ok(Some(part));
                    }
                }
                Place::Data(_, 0) | Place::Skipped(0) => self.place = Place::Header,
                Place::Control(kind, len) => {
                    if self.buf.len() < len {
                        return Ok(None);
                    }
                    self.place = Place::Header;
                    let payload = self.buf.split_to(len).freeze();
                    return Ok(Some(Part::Control(kind, payload)));
                }
                _ if self.buf.is_empty() => return Ok(None),
                Place::Data(kind, left) => {
                    let here = left.min(self.buf.len());
                    self.place = Place::Data(kind, left - here);
                    let data = self.buf.split_to(here).freeze();
                    return Ok(Some(Part::Data(kind, data)));
                }
                Place::Skipped(left) => {
                    let here = left.min(self.buf.len());
                    self.place = Place::Skipped(left - here);
                    self.buf.advance(here);
                }
            }
        }
    }

    /// The data frame whose bytes come next and how many of them at most, while they may go past
    /// [`feed`](Self::feed).
    pub(super) fn direct(&self) -> Option<(FrameType, usize)> {
        match self.place {
            Place::Data(kind, left) if left > 0 && self.buf.is_empty() => Some((kind, left)),
            _ => None,
        }
    }

    /// How many bytes it holds.
    pub(super) fn held(&self) -> usize {
        self.buf.len()
    }

    /// Reads a header, `None` if it is that of a frame to be skipped.
    fn begin(&mut self, header: [u8; HEADER_LEN]) -> Result<Option<Part>, ProtocolError> {
        let [byte, len @ ..] = header;
        let told = u32::from_be_bytes(len);
        // A length that no memory holds is past every limit.
        let len = usize::try_from(told).unwrap_or(usize::MAX);
        let Some(kind) = FrameType::from_byte(byte) else {
            if byte < FIRST_SKIPPED {
                return Err(ProtocolError::UnknownFrame { byte });
            }
            self.place = Place::Skipped(len);
            return Ok(None);
        };
        if len > kind.max_len() {
            return Err(ProtocolError::FrameTooLong {
                frame: kind.name(),
                len: told,
                limit: kind.max_len(),
            });
        }
        self.place = if kind.is_data() {
            Place::Data(kind, len)
        } else {
            Place::Control(kind, len)
        };
        Ok(Some(Part::Header(kind, len)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::native::frame::header;

    fn deframer(bytes: &[u8]) -> Deframer {
        let mut deframer = Deframer::new();
        deframer.feed(bytes);
        deframer
    }

    #[test]
    fn data_is_told_as_it_comes() {
        let mut frames = deframer(&header(FrameType::Stdout, 4));
        frames.feed(b"ab");
        let part = Part::Header(FrameType::Stdout, 4);
        assert_eq!(frames.next_part(), Ok(Some(part)));
        let part = Part::Data(FrameType::Stdout, "ab".into());
        assert_eq!(frames.next_part(), Ok(Some(part)));
        assert_eq!(frames.next_part(), Ok(None));
        assert_eq!(frames.direct(), Some((FrameType::Stdout, 2)));
        assert!(!frames.skip_data(3) && frames.skip_data(2));
        assert_eq!(frames.direct(), None);
        assert_eq!((frames.next_part(), frames.held()), (Ok(None), 0));
    }

    #[test]
    fn a_length_is_refused_before_it_is_waited_for() {
        for kind in [FrameType::Stdin, FrameType::Run, FrameType::Cancel] {
            let mut header = header(kind, kind.max_len());
            assert!(matches!(deframer(&header).next_part(), Ok(Some(_))));
            header[4] += 1;
            let error = deframer(&header).next_part().unwrap_err();
            assert!(matches!(error, ProtocolError::FrameTooLong { .. }));
        }
    }

    #[test]
    fn frames_of_the_future_are_skipped_without_being_held() {
        let mut frames = deframer(&[0x80, 0xff, 0xff, 0xff, 0xff]);
        frames.feed(&[0; 9000]);
        assert_eq!((frames.next_part(), frames.held()), (Ok(None), 0));
        let mut frames = deframer(&[0xff, 0, 0, 0, 1, b'x', 0x05, 0, 0, 0, 0]);
        let part = Part::Header(FrameType::Cancel, 0);
        assert_eq!(frames.next_part(), Ok(Some(part)));
        let unknown = Err(ProtocolError::UnknownFrame { byte: 0x7f });
        assert_eq!(deframer(&[0x7f, 0, 0, 0, 0]).next_part(), unknown);
    }
}
