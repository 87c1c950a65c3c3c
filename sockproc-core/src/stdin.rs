//! Where a command's stdin comes from.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek};

use bytes::{Bytes, BytesMut};

use crate::Error;

/// What a command will read from its stdin: bytes in memory, or a source of known length.
///
/// ```
/// use sockproc_core::Stdin;
///
/// assert_eq!(Stdin::empty().len(), 0);
/// assert_eq!(Stdin::from("two\nlines\n").len(), 10);
/// let zeros = std::io::repeat(0);
/// assert_eq!(Stdin::from_reader(zeros, 1 << 30).len(), 1 << 30);
/// ```
#[derive(Default)]
pub struct Stdin {
    /// What is to be sent next.
    chunk: Bytes,
    /// What comes after that.
    rest: Rest,
}

/// What comes after the bytes in memory.
#[derive(Default)]
enum Rest {
    #[default]
    Nothing,
    Source(Source),
    /// Whatever the caller will push, until it pushes no bytes.
    Stream,
    /// Taken by an earlier run.
    UsedUp,
}

struct Source {
    reader: Box<dyn Read + Send>,
    /// Bytes still to be read from `reader`; never 0.
    left: u64,
    buf: BytesMut,
}

impl Stdin {
    /// No bytes at all: the command finds its stdin at end of file.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// The first `len` bytes that `source` gives, read in pieces while they are sent.
    ///
    /// A read that blocks holds up whoever drives the connection: give a file, not a pipe. If
    /// `source` fails or ends before `len` bytes, the run fails with
    /// [`Error::Stdin`](crate::Error::Stdin).
    pub fn from_reader(source: impl Read + Send + 'static, len: u64) -> Self {
        let rest = match len {
            0 => Rest::Nothing,
            _ => Rest::Source(Source {
                reader: Box::new(source),
                left: len,
                buf: BytesMut::new(),
            }),
        };
        Self {
            chunk: Bytes::new(),
            rest,
        }
    }

    /// What `file` holds from its current position on.
    ///
    /// A regular file is read in pieces while it is sent. Anything else has no length that could be
    /// announced, so it is read to its end here, which may block.
    ///
    /// # Errors
    /// `file` cannot be examined or read.
    pub fn from_file(mut file: File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        if metadata.is_file() {
            let left = metadata.len().saturating_sub(file.stream_position()?);
            // Files of /proc say 0 and hold bytes all the same.
            if left > 0 {
                return Ok(Self::from_reader(file, left));
            }
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes.into())
    }

    /// What [`Connection::push_stdin`](crate::connection::Connection::push_stdin) is given while the
    /// command runs, until that is no bytes.
    #[must_use]
    pub fn streamed() -> Self {
        Self {
            chunk: Bytes::new(),
            rest: Rest::Stream,
        }
    }

    /// Bytes that are still to be sent, as far as they are known.
    #[must_use]
    pub fn len(&self) -> u64 {
        let rest = match &self.rest {
            Rest::Source(source) => source.left,
            _ => 0,
        };
        self.chunk.len() as u64 + rest
    }

    /// Whether nothing is to be sent any more.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether its length is not known before.
    pub(crate) fn is_streamed(&self) -> bool {
        matches!(self.rest, Rest::Stream)
    }

    /// The same for one run of several: bytes are for all of them, a reader is for the first.
    ///
    /// # Errors
    /// [`Error::Stdin`] for every further run.
    pub(crate) fn for_a_run(&mut self) -> Result<Self, Error> {
        let rest = match &self.rest {
            Rest::Nothing => Rest::Nothing,
            Rest::UsedUp => {
                let source = io::Error::other("an earlier run has used it up");
                let sent = false;
                return Err(Error::Stdin { sent, source });
            }
            Rest::Source(_) | Rest::Stream => std::mem::replace(&mut self.rest, Rest::UsedUp),
        };
        let chunk = self.chunk.clone();
        Ok(Self { chunk, rest })
    }

    /// More of a stream; no bytes end it.
    pub(crate) fn push(&mut self, data: Bytes) {
        match data.is_empty() {
            true => self.rest = Rest::Nothing,
            false => self.chunk = data,
        }
    }

    /// Takes the next bytes to be sent, at most `limit`; empty when there are none left.
    pub(crate) fn next_chunk(&mut self, limit: u64) -> io::Result<Bytes> {
        if self.chunk.is_empty()
            && let Rest::Source(source) = &mut self.rest
        {
            self.chunk = source.read()?;
            if source.left == 0 {
                self.rest = Rest::Nothing;
            }
        }
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok(self.chunk.split_to(self.chunk.len().min(limit)))
    }
}

impl Source {
    /// The next bytes of the source, at least one.
    fn read(&mut self) -> io::Result<Bytes> {
        let want = self.left.min(CHUNK_LEN as u64);
        // The last chunk has been sent, so this takes its memory again.
        self.buf.resize(want as usize, 0);
        let got = loop {
            match self.reader.read(&mut self.buf) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        if got == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("it ended {} bytes early", self.left),
            ));
        }
        self.left -= got as u64;
        Ok(self.buf.split_to(got).freeze())
    }
}

impl fmt::Debug for Stdin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stdin").field("len", &self.len()).finish()
    }
}

impl<T: Into<Bytes>> From<T> for Stdin {
    fn from(bytes: T) -> Self {
        Self {
            chunk: bytes.into(),
            rest: Rest::Nothing,
        }
    }
}

/// Enough to make a system call worth its price, little enough to stay in the processor's cache.
const CHUNK_LEN: usize = 64 * 1024;
