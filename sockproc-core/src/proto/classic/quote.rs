//! An argument vector as a shell command line: the classic protocol knows nothing else.

use bytes::{BufMut, Bytes, BytesMut};

/// Why words cannot be sent as a classic command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuoteError {
    /// There is no program to run.
    #[error("argv is empty")]
    Empty,
    /// The shell's `exec` would take the program for an option.
    #[error("program {program:?} begins with a dash: give its path")]
    Dash {
        /// The program, unprintable bytes escaped.
        program: String,
    },
    /// No program can be given an argument with a NUL in it.
    #[error("argument {index} holds a NUL")]
    Nul {
        /// Which word; the program is 0.
        index: usize,
    },
}

/// The command line that makes `/bin/sh` become the program `words[0]` with exactly these words.
///
/// Every byte but NUL and every word, the empty one too, arrives as it is. A classic command ends at
/// its first CRLF, so the two bytes of one inside a word stand in quotes of their own.
///
/// ```
/// use sockproc_core::proto::classic::exec_line;
///
/// assert_eq!(exec_line(["echo", "it's", "$HOME"])?, r"exec 'echo' 'it'\''s' '$HOME'");
/// # Ok::<(), sockproc_core::proto::classic::QuoteError>(())
/// ```
///
/// # Errors
/// No word at all, a program that begins with a dash, a word with a NUL in it.
pub fn exec_line<W: AsRef<[u8]>>(words: impl IntoIterator<Item = W>) -> Result<Bytes, QuoteError> {
    let mut line = BytesMut::from("exec");
    for (index, word) in words.into_iter().enumerate() {
        let word = word.as_ref();
        if index == 0 && word.starts_with(b"-") {
            return Err(QuoteError::Dash {
                program: word.escape_ascii().to_string(),
            });
        }
        if word.contains(&0) {
            return Err(QuoteError::Nul { index });
        }
        line.put_u8(b' ');
        quote(word, &mut line);
    }
    if &line[..] == b"exec" {
        return Err(QuoteError::Empty);
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

    #[test]
    fn words_that_no_classic_command_carries_are_refused_by_their_place() {
        assert_eq!(exec_line([""; 0]), Err(QuoteError::Empty));
        assert_eq!(
            exec_line(["-a", "x"]),
            Err(QuoteError::Dash {
                program: "-a".into()
            })
        );
        assert_eq!(
            exec_line(["echo", "a\0b"]),
            Err(QuoteError::Nul { index: 1 })
        );
    }

    #[test]
    fn crlf_inside_a_word_stands_in_two_quotes() {
        let line = exec_line(["echo", "a\r\nb"]).unwrap();
        assert_eq!(line, &b"exec 'echo' 'a\r''\nb'"[..]);
    }

    proptest! {
        #[test]
        fn unquoting_gives_back_the_word_and_no_line_holds_crlf(word in word()) {
            let line = exec_line([&b"x"[..], &word]).unwrap();
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
