//! Lists of records, each `name=value` and a NUL: the form of environ(7).

use bytes::{BufMut, Bytes, BytesMut};

use crate::proto::error::excerpt;

/// A record's two halves; any bytes but NUL, and no `=` in the name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) name: Bytes,
    pub(super) value: Bytes,
}

/// The records of a payload, in their order.
#[derive(Debug)]
pub(super) struct Records(Bytes);

impl Records {
    pub(super) fn new(payload: Bytes) -> Self {
        Self(payload)
    }
}

/// The error says what is wrong with the next record; no others follow it.
impl Iterator for Records {
    type Item = Result<Record, String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let Some(end) = self.0.iter().position(|&byte| byte == 0) else {
            let rest = std::mem::take(&mut self.0);
            return Some(Err(format!("no NUL ends the record {:?}", excerpt(&rest))));
        };
        let mut name = self.0.split_to(end + 1);
        name.truncate(end);
        let Some(equals) = name.iter().position(|&byte| byte == b'=') else {
            self.0.clear();
            return Some(Err(format!("no = in the record {:?}", excerpt(&name))));
        };
        let value = name.split_off(equals + 1);
        name.truncate(equals);
        Some(Ok(Record { name, value }))
    }
}

/// Writes records; remembers the first value that holds a NUL, which no record can carry.
#[derive(Debug, Default)]
pub(super) struct RecordWriter {
    payload: BytesMut,
    nul: Option<&'static str>,
}

impl RecordWriter {
    pub(super) fn put(&mut self, name: &'static str, value: &[u8]) {
        if value.contains(&0) {
            self.nul.get_or_insert(name);
        }
        for part in [name.as_bytes(), b"=", value, b"\0"] {
            self.payload.put_slice(part);
        }
    }

    pub(super) fn put_number(&mut self, name: &'static str, number: impl Into<u64>) {
        self.put(name, number.into().to_string().as_bytes());
    }

    /// What was written, or the name of a value with a NUL in it.
    pub(super) fn finish(self) -> Result<BytesMut, &'static str> {
        match self.nul {
            Some(name) => Err(name),
            None => Ok(self.payload),
        }
    }
}

/// A decimal number: digits only. One that 64 bits cannot hold is the greatest that they can.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let text = std::str::from_utf8(digits).ok()?;
    Some(text.parse().unwrap_or(u64::MAX))
}

/// A flag: `0` or `1`.
pub(super) fn flag(value: &[u8]) -> Option<bool> {
    match value {
        b"0" => Some(false),
        b"1" => Some(true),
        _ => None,
    }
}

/// Words of the protocol and what they mean.
pub(super) type Words<T> = [(&'static str, T)];

/// What a word means.
pub(super) fn meaning<T: Copy>(words: &Words<T>, word: &[u8]) -> Option<T> {
    let mut words = words.iter();
    words
        .find(|(known, _)| known.as_bytes() == word)
        .map(|(_, meaning)| *meaning)
}

/// The word that means this.
pub(super) fn word<T: Copy + PartialEq>(words: &Words<T>, meaning: T) -> Option<&'static str> {
    let mut words = words.iter();
    words
        .find(|(_, known)| *known == meaning)
        .map(|(word, _)| *word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(payload: &'static [u8]) -> Result<Vec<(Bytes, Bytes)>, String> {
        Records::new(Bytes::from_static(payload))
            .map(|record| record.map(|record| (record.name, record.value)))
            .collect()
    }

    #[test]
    fn a_name_ends_at_the_first_equals_sign() {
        let expected = vec![("env".into(), "A=b=c".into()), ("".into(), "".into())];
        assert_eq!(records(b"env=A=b=c\0=\0"), Ok(expected));
        assert_eq!(records(b""), Ok(vec![]));
    }

    #[test]
    fn what_is_no_record_is_named() {
        let error = records(b"a=1\0b\0c=1\0").unwrap_err();
        assert_eq!(error, r#"no = in the record "b""#);
        let error = records(b"a=1\0b=2").unwrap_err();
        assert_eq!(error, r#"no NUL ends the record "b=2""#);
        assert!(records(b"\0").is_err());
    }

    #[test]
    fn a_value_with_a_nul_is_found() {
        let mut writer = RecordWriter::default();
        writer.put("a", b"b");
        writer.put("cwd", b"\0");
        assert_eq!(writer.finish(), Err("cwd"));
    }

    #[test]
    fn numbers_are_digits_alone() {
        assert_eq!(number(b"007"), Some(7));
        assert_eq!(number(b"18446744073709551616"), Some(u64::MAX));
        for text in ["", "+1", "-1", " 1", "1 ", "0x1", "1.0"] {
            assert_eq!(number(text.as_bytes()), None, "{text:?}");
        }
    }
}
