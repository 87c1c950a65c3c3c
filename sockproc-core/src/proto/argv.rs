//! How a command is given: a line for the shell, or an argument vector.

use bytes::Bytes;

/// How a command is given.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Invocation {
    /// Handed to `/bin/sh -c` as it is; any bytes except NUL.
    Line(Bytes),
    /// A program and its arguments; no shell looks at them.
    Argv(Argv),
}

/// An argument vector: never empty, and without a NUL in any word.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Argv(Vec<Bytes>);

/// Why words are no argument vector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArgvError {
    /// There is no program to run.
    #[error("argv is empty")]
    Empty,
    /// No program can be given an argument with a NUL in it.
    #[error("argument {index} holds a NUL")]
    Nul {
        /// Which word; the program is 0.
        index: usize,
    },
}

impl Argv {
    /// Takes `words` for an argument vector, if they can be one.
    ///
    /// # Errors
    /// [`ArgvError`], which names the word.
    pub fn new<W: Into<Bytes>>(words: impl IntoIterator<Item = W>) -> Result<Self, ArgvError> {
        let words: Vec<Bytes> = words.into_iter().map(Into::into).collect();
        if words.is_empty() {
            return Err(ArgvError::Empty);
        }
        match words.iter().position(|word| word.contains(&0)) {
            Some(index) => Err(ArgvError::Nul { index }),
            None => Ok(Self(words)),
        }
    }

    /// The words; the program is the first.
    #[must_use]
    pub fn words(&self) -> &[Bytes] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_no_program_can_be_given_are_refused_by_their_place() {
        assert_eq!(Argv::new([""; 0]), Err(ArgvError::Empty));
        assert_eq!(
            Argv::new(["echo", "a\0b"]),
            Err(ArgvError::Nul { index: 1 })
        );
        assert_eq!(Argv::new([""]).unwrap().words(), [Bytes::new()]);
    }
}
