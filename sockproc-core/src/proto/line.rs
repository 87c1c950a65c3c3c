//! The one bounded reader of lines; a line ends in CRLF.

use bytes::{Bytes, BytesMut};

/// Finds the first CRLF of a growing buffer without looking at any byte twice.
#[derive(Debug, Default)]
pub(crate) struct LineReader {
    /// Bytes of the buffer that are known to hold no complete CRLF.
    scanned: usize,
}

/// A line of more than the allowed number of bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

impl LineReader {
    /// Takes the first line, without its CRLF, off the front of `buf`; `None` while it is incomplete.
    ///
    /// Fails as soon as the line is known to be longer than `limit` bytes, so that a buffer which is
    /// filled in bounded steps stays bounded.
    pub(crate) fn next_line(
        &mut self,
        buf: &mut BytesMut,
        limit: usize,
    ) -> Result<Option<Bytes>, TooLong> {
        while let Some(found) = buf[self.scanned..].iter().position(|&b| b == b'\n') {
            let newline = self.scanned + found;
            if newline > 0 && buf[newline - 1] == b'\r' {
                self.scanned = 0;
                let mut line = buf.split_to(newline + 1);
                line.truncate(newline - 1);
                return if line.len() > limit {
                    Err(TooLong)
                } else {
                    Ok(Some(line.freeze()))
                };
            }
            self.scanned = newline + 1;
        }
        self.scanned = buf.len();
        // A trailing CR may be the first half of the line's end.
        if buf.len() > limit + 1 {
            Err(TooLong)
        } else {
            Ok(None)
        }
    }

    /// Takes all of `buf` for the last line: nothing more will come.
    pub(crate) fn last_line(&mut self, buf: &mut BytesMut, limit: usize) -> Result<Bytes, TooLong> {
        self.scanned = 0;
        let line = buf.split().freeze();
        if line.len() > limit {
            Err(TooLong)
        } else {
            Ok(line)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &[u8], limit: usize) -> Result<Option<Bytes>, TooLong> {
        LineReader::default().next_line(&mut BytesMut::from(input), limit)
    }

    #[test]
    fn only_crlf_ends_a_line() {
        assert_eq!(read(b"a\nb\rc\r", 10), Ok(None));
        assert_eq!(
            read(b"a\nb\r\r\nrest", 10),
            Ok(Some(Bytes::from_static(b"a\nb\r")))
        );
        assert_eq!(read(b"\r\n", 0), Ok(Some(Bytes::new())));
    }

    #[test]
    fn a_line_may_be_exactly_as_long_as_its_limit() {
        assert_eq!(read(b"abc\r\n", 3), Ok(Some(Bytes::from_static(b"abc"))));
        assert_eq!(read(b"abc\r", 3), Ok(None));
        assert_eq!(read(b"abcd\r\n", 3), Err(TooLong));
        assert_eq!(read(b"abcde", 3), Err(TooLong));
    }

    #[test]
    fn a_last_line_without_its_end_may_be_no_longer_than_others() {
        for line in ["abcd", "abc\r"] {
            let mut reader = LineReader::default();
            let mut buf = BytesMut::from(line);
            assert_eq!(reader.next_line(&mut buf, 3), Ok(None));
            assert_eq!(reader.last_line(&mut buf, 3), Err(TooLong));
        }
    }

    #[test]
    fn what_comes_after_a_last_line_is_read_from_its_beginning() {
        let mut reader = LineReader::default();
        let mut buf = BytesMut::from(&b"unfinished"[..]);
        assert_eq!(reader.next_line(&mut buf, 10), Ok(None));
        assert_eq!(reader.last_line(&mut buf, 10), Ok("unfinished".into()));
        assert_eq!(reader.next_line(&mut buf, 10), Ok(None));
    }

    #[test]
    fn a_crlf_that_arrives_in_two_parts_ends_the_line() {
        let mut reader = LineReader::default();
        let mut buf = BytesMut::from(&b"ls\r"[..]);
        assert_eq!(reader.next_line(&mut buf, 10), Ok(None));
        buf.extend_from_slice(b"\n0");
        assert_eq!(
            reader.next_line(&mut buf, 10),
            Ok(Some(Bytes::from_static(b"ls")))
        );
        assert_eq!(&buf[..], b"0");
    }
}
