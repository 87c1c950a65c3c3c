//! Where a run's output is received to.

use std::io::{self, Read, Take};

/// Room for one output stream of a run, filled straight from the socket.
///
/// `Vec<u8>` is one. A binding implements it for an object of its host, so that the bytes need no
/// second copy: `reserve` makes the object, `fill` reads into it.
pub trait Body: Default {
    /// Makes room for `len` more bytes; at least as many will be filled in, or the run fails.
    ///
    /// The cap on output has been checked, but `len` is still the peer's word: fail if there is no
    /// such memory, do not touch what is not filled yet.
    ///
    /// # Errors
    /// There is no room; the run fails with [`Error::NoRoom`](crate::Error::NoRoom).
    fn reserve(&mut self, len: u64) -> io::Result<()>;

    /// Reads from `source` into the room, once or until it gives no more.
    ///
    /// `source` never gives more than was reserved. Every byte taken from it must be kept.
    ///
    /// # Errors
    /// What `source` said, `WouldBlock` too.
    fn fill(&mut self, source: &mut Take<&mut dyn Read>) -> io::Result<()>;
}

impl Body for Vec<u8> {
    fn reserve(&mut self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
        // Only addresses are taken here: the kernel gives memory when it is written to.
        self.try_reserve_exact(len)
            .map_err(|_| io::ErrorKind::OutOfMemory.into())
    }

    /// `read_to_end` keeps what came before an error and reads into memory that was never zeroed.
    fn fill(&mut self, source: &mut Take<&mut dyn Read>) -> io::Result<()> {
        source.read_to_end(self).map(drop)
    }
}

/// A body that forgets what it is given.
#[derive(Debug, Default)]
pub struct Discard;

impl Body for Discard {
    fn reserve(&mut self, _len: u64) -> io::Result<()> {
        Ok(())
    }

    fn fill(&mut self, source: &mut Take<&mut dyn Read>) -> io::Result<()> {
        io::copy(source, &mut io::sink()).map(drop)
    }
}
