//! An argument vector as a line for the shell: the classic protocol knows nothing else.

use bytes::{BufMut, Bytes, BytesMut};

use crate::proto::{Argv, ProtocolError};

/// The line that makes `/bin/sh` become the program `argv[0]` with exactly these words.
///
/// Every byte but NUL and every word, the empty one too, arrives as it is. A classic command ends at
/// its first CRLF, so the two bytes of one inside a word stand in quotes of their own.
///
/// # Errors
/// Ours: a program that begins with a dash.
pub(super) fn exec_line(argv: &Argv) -> Result<Bytes, ProtocolError> {
    let words = argv.words();
    if words[0].starts_with(b"-") {
        return Err(ProtocolError::Dash {
            program: words[0].escape_ascii().to_string(),
        });
    }
    let mut line = BytesMut::from("exec");
    for word in words {
        line.put_u8(b' ');
        quote(word, &mut line);
    }
    Ok(line.freeze())
}

/// Between single quotes everything is itself but the single quote (POSIX, XCU 2.2.2).
fn quote(word: &[u8], line: &mut BytesMut) {
    line.put_u8(b'\'');
    let mut previous = 0;
    for &byte in word {
        match (previous, byte) {
            (_, b'\'') => line.put_slice(br"'\''"),
            (b'\r', b'\n') => line.put_slice(b"''\n"),
            _ => line.put_u8(byte),
        }
        previous = byte;
    }
    line.put_u8(b'\'');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(words: &[&[u8]]) -> Result<Bytes, ProtocolError> {
        exec_line(&Argv::new(words.iter().map(|word| word.to_vec())).unwrap())
    }

    #[test]
    fn a_program_that_begins_with_a_dash_is_refused() {
        let program = "-a".into();
        assert_eq!(line(&[b"-a", b"x"]), Err(ProtocolError::Dash { program }));
    }

    #[test]
    fn words_stand_in_quotes_and_crlf_in_two_of_them() {
        let words: [&[u8]; 4] = [b"echo", b"it's", b"$HOME", b""];
        assert_eq!(
            line(&words).unwrap(),
            &br"exec 'echo' 'it'\''s' '$HOME' ''"[..]
        );
        let crlf = line(&[b"echo", b"a\r\nb"]).unwrap();
        assert_eq!(crlf, &b"exec 'echo' 'a\r''\nb'"[..]);
    }

    proptest! {
        #[test]
        fn unquoting_gives_back_the_word_and_no_line_holds_crlf(word in word()) {
            let line = line(&[b"x", &word]).unwrap();
            prop_assert!(!line.windows(2).any(|pair| pair == b"\r\n"));
            let quoted = line.strip_prefix(b"exec 'x' ").unwrap();
            prop_assert_eq!(unquote(quoted), word);
        }
    }

    /// Any bytes but NUL, those that quoting is about more often than others.
    fn word() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![1_u8.., Just(b'\r'), Just(b'\n'), Just(b'\'')];
        proptest::collection::vec(byte, 0..40)
    }

    /// What a shell makes of a word of quoted parts and escaped bytes.
    fn unquote(quoted: &[u8]) -> Vec<u8> {
        let mut word = Vec::new();
        let mut bytes = quoted.iter();
        while let Some(&byte) = bytes.next() {
            match byte {
                b'\'' => word.extend(bytes.by_ref().take_while(|&&b| b != b'\'')),
                b'\\' => word.extend(bytes.next()),
                _ => panic!(
                    "bare byte {byte} in {:?}",
                    quoted.escape_ascii().to_string()
                ),
            }
        }
        word
    }
}
