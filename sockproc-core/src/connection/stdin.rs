//! Where a command's stdin comes from.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek};

use bytes::{Bytes, BytesMut};

/// What a command will read from its stdin: bytes in memory, or a source of known length.
///
/// ```
/// use sockproc_core::connection::Stdin;
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
    rest: Option<Rest>,
}

struct Rest {
    source: Box<dyn Read + Send>,
    /// Bytes still to be read from `source`; never 0.
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
        let rest = (len > 0).then(|| Rest {
            source: Box::new(source),
            left: len,
            buf: BytesMut::new(),
        });
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

    /// Bytes that are still to be sent.
    #[must_use]
    pub fn len(&self) -> u64 {
        let rest = self.rest.as_ref().map_or(0, |rest| rest.left);
        self.chunk.len() as u64 + rest
    }

    /// Whether nothing is to be sent any more.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the next bytes to be sent; empty when there are none left.
    pub(super) fn next_chunk(&mut self) -> io::Result<Bytes> {
        if !self.chunk.is_empty() {
            return Ok(std::mem::take(&mut self.chunk));
        }
        let Some(rest) = &mut self.rest else {
            return Ok(Bytes::new());
        };
        let chunk = rest.read()?;
        if rest.left == 0 {
            self.rest = None;
        }
        Ok(chunk)
    }
}

impl Rest {
    /// The next bytes of the source, at least one.
    fn read(&mut self) -> io::Result<Bytes> {
        let want = self.left.min(CHUNK_LEN as u64);
        // The last chunk has been sent, so this takes its memory again.
        self.buf.resize(want as usize, 0);
        let got = loop {
            match self.source.read(&mut self.buf) {
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
            rest: None,
        }
    }
}

/// Enough to make a system call worth its price, little enough to stay in the processor's cache.
const CHUNK_LEN: usize = 64 * 1024;
