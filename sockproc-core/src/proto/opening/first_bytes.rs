//! The opening as a server sees it.

use bytes::Bytes;

use super::{BEGIN, GREETING};
use crate::proto::{Refusal, RefusalKind, native};

/// What a connection begins with, as its server sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FirstBytes {
    /// Too few to tell; all of them classic if no more come.
    Unfinished,
    /// Not an opening: all of them belong to the classic protocol.
    Classic,
    /// An opening of `len` bytes. What follows it belongs to the native protocol.
    Native {
        /// The version that the client speaks; [`refuse_version`] answers any but [`VERSION`](super::VERSION).
        version: u32,
        /// The length of the opening.
        len: usize,
    },
}

impl FirstBytes {
    /// Looks at the bytes that have come so far; it takes none.
    ///
    /// ```
    /// use sockproc_core::proto::opening::FirstBytes;
    ///
    /// assert_eq!(FirstBytes::of(b"#sock"), FirstBytes::Unfinished);
    /// assert_eq!(FirstBytes::of(b"#sock it to me\r\n0\r\n"), FirstBytes::Classic);
    /// let native = FirstBytes::Native { version: 2, len: 16 };
    /// assert_eq!(FirstBytes::of(b"#sockproc/2\r\n0\r\n\x01"), native);
    /// ```
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let (begin, rest) = bytes.split_at(bytes.len().min(BEGIN.len()));
        if begin != &BEGIN[..begin.len()] {
            return Self::Classic;
        }
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (version, rest) = rest.split_at(digits);
        let end = &rest[..rest.len().min(END.len())];
        let no_digits = digits == 0 && !end.is_empty();
        if no_digits || digits > MAX_DIGITS || end != &END[..end.len()] {
            return Self::Classic;
        }
        if end != END {
            return Self::Unfinished;
        }
        let version = version
            .iter()
            .fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
        let len = begin.len() + digits + end.len();
        Self::Native { version, len }
    }
}

/// The whole answer to an opening of a version that is not [`VERSION`](super::VERSION).
#[must_use]
pub fn refuse_version(version: u32) -> Bytes {
    let message = format!("version {version} of the protocol is unknown here");
    let refusal = Refusal::new(RefusalKind::Unsupported, message);
    let refused = native::ServerSession::new().send_refused(&refusal);
    [GREETING, &refused.unwrap_or_default()].concat().into()
}

/// What stands behind the version.
const END: &[u8] = b"\r\n0\r\n";

/// The most digits of a version.
const MAX_DIGITS: usize = 9;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::ClientEvent;
    use crate::proto::opening::OPENING;

    #[test]
    fn only_the_exact_opening_is_native() {
        let native = |version, len| FirstBytes::Native { version, len };
        assert_eq!(FirstBytes::of(OPENING), native(2, OPENING.len()));
        assert_eq!(
            FirstBytes::of(b"#sockproc/999999999\r\n0\r\nrest"),
            native(999_999_999, 24)
        );
        for classic in [
            "x",
            "#sockproc",
            "#sockproc/\r\n0\r\n",
            "#sockproc/1234567890\r\n0\r\n",
            "#sockproc/2 \r\n0\r\n",
            "#sockproc/2\n0\n",
            "#sockproc/2\r\n1\r\nx",
            "#sockproc/2\r\n00\r\n",
            " #sockproc/2\r\n0\r\n",
        ] {
            let whole = format!("{classic}\r\n");
            assert_eq!(
                FirstBytes::of(whole.as_bytes()),
                FirstBytes::Classic,
                "{classic:?}"
            );
        }
    }

    #[test]
    fn an_opening_is_unfinished_until_its_last_byte() {
        for len in 0..OPENING.len() {
            assert_eq!(
                FirstBytes::of(&OPENING[..len]),
                FirstBytes::Unfinished,
                "{len}"
            );
        }
    }

    #[test]
    fn a_client_of_another_version_is_refused_in_frames() {
        let refused = refuse_version(3);
        let rest = refused.strip_prefix(GREETING).unwrap();
        let mut session = native::ClientSession::new();
        session.receive_data(rest);
        let Ok(Some(ClientEvent::Refused(refusal))) = session.next_event() else {
            panic!()
        };
        assert_eq!(refusal.kind, RefusalKind::Unsupported);
        assert_eq!(refusal.message, "version 3 of the protocol is unknown here");
    }

    proptest! {
        #[test]
        fn more_bytes_never_change_what_was_told(
            bytes in "#sockproc/[0-9]{0,11}(\r\n)?0?(\r\n)?.{0,3}",
            len in 0_usize..40,
        ) {
            let bytes = bytes.as_bytes();
            let early = FirstBytes::of(&bytes[..len.min(bytes.len())]);
            if early != FirstBytes::Unfinished {
                prop_assert_eq!(early, FirstBytes::of(bytes));
            }
        }
    }
}
