//! The stdin length of a request, read as the C daemon's `sscanf("%zu")` reads it.

use crate::proto::ProtocolError;
use crate::proto::error::excerpt;

/// Reads the count line: leading blanks, a sign, leading zeros and trailing junk are accepted; no
/// digits at all and negative numbers mean 0.
///
/// A number past `i64::MAX` is an error: the C daemon takes it for a negative one and drops the
/// stdin without a word.
pub(super) fn parse(line: &[u8]) -> Result<u64, ProtocolError> {
    let text = &line[line.iter().take_while(|&&b| is_space(b)).count()..];
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let digits = &digits[..digits.iter().take_while(|b| b.is_ascii_digit()).count()];
    if negative {
        return Ok(0);
    }
    digits
        .iter()
        .try_fold(0_i64, |n, digit| {
            n.checked_mul(10)?.checked_add(i64::from(digit - b'0'))
        })
        .map(i64::unsigned_abs)
        .ok_or_else(|| ProtocolError::StdinTooLong {
            text: excerpt(digits),
        })
}

/// C's `isspace`, which counts the vertical tab; `u8::is_ascii_whitespace` does not.
fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_read_as_sscanf_reads_it() {
        for (line, count) in [
            ("0", 0),
            ("5", 5),
            (" \t\x0b\r7", 7),
            ("+3", 3),
            ("0012", 12),
            ("4x", 4),
            ("4 5", 4),
            ("", 0),
            ("abc", 0),
            ("-5", 0),
            ("- 5", 0),
            ("0x3", 0),
            ("9223372036854775807", 9_223_372_036_854_775_807),
        ] {
            assert_eq!(parse(line.as_bytes()), Ok(count), "{line:?}");
        }
    }

    #[test]
    fn a_count_that_no_machine_holds_is_refused_by_its_digits() {
        for line in [
            "9223372036854775808",
            "18446744073709551616",
            "99999999999999999999999",
        ] {
            assert_eq!(
                parse(line.as_bytes()),
                Err(ProtocolError::StdinTooLong { text: line.into() })
            );
        }
    }
}
