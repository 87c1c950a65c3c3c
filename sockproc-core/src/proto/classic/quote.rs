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
    /// A classic command ends at its first CRLF.
    #[error("argument {index} holds CRLF, which a classic command cannot carry")]
    CrLf {
        /// Which word; the program is 0.
        index: usize,
    },
}

/// The command line that makes `/bin/sh` become the program `words[0]` with exactly these words.
///
/// Every byte but NUL and every word, the empty one too, arrives as it is; only CRLF cannot be
/// carried.
///
/// ```
/// use sockproc_core::proto::classic::exec_line;
///
/// assert_eq!(exec_line(["echo", "it's", "$HOME"])?, r"exec 'echo' 'it'\''s' '$HOME'");
/// # Ok::<(), sockproc_core::proto::classic::QuoteError>(())
/// ```
///
/// # Errors
/// No word at all, a program that begins with a dash, a word with NUL or CRLF in it.
pub fn exec_line<W: AsRef<[u8]>>(words: impl IntoIterator<Item = W>) -> Result<Bytes, QuoteError> {
    let mut line = BytesMut::from("exec");
    for (index, word) in words.into_iter().enumerate() {
        let word = word.as_ref();
        if index == 0 && word.starts_with(b"-") {
            return Err(QuoteError::Dash {
                program: word.escape_ascii().to_string(),
            });
        }
        check(word, index)?;
        line.put_u8(b' ');
        quote(word, &mut line);
    }
    if &line[..] == b"exec" {
        return Err(QuoteError::Empty);
    }
    Ok(line.freeze())
}

fn check(word: &[u8], index: usize) -> Result<(), QuoteError> {
    if word.contains(&0) {
        return Err(QuoteError::Nul { index });
    }
    if word.windows(2).any(|pair| pair == b"\r\n") {
        return Err(QuoteError::CrLf { index });
    }
    Ok(())
}

/// Between single quotes everything is itself but the single quote (POSIX, XCU 2.2.2).
fn quote(word: &[u8], line: &mut BytesMut) {
    line.put_u8(b'\'');
    for (nth, part) in word.split(|&b| b == b'\'').enumerate() {
        if nth > 0 {
            line.put_slice(br"'\''");
        }
        line.put_slice(part);
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
        assert_eq!(
            exec_line(["echo", "-n", "a\r\nb"]),
            Err(QuoteError::CrLf { index: 2 })
        );
    }

    #[test]
    fn cr_and_lf_of_two_words_are_no_crlf() {
        let line = exec_line(["echo", "a\r", "\nb\r"]).unwrap();
        assert!(!line.windows(2).any(|pair| pair == b"\r\n"));
    }

    proptest! {
        #[test]
        fn unquoting_gives_back_the_word(word in proptest::collection::vec(1_u8.., 0..40)) {
            prop_assume!(!word.windows(2).any(|pair| pair == b"\r\n"));
            let line = exec_line([&b"x"[..], &word]).unwrap();
            let quoted = line.strip_prefix(b"exec 'x' ").unwrap();
            prop_assert_eq!(unquote(quoted), word);
        }
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
