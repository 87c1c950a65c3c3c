//! What a command's standard streams are.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bytes::Bytes;

use crate::{Error, Stdin};

/// What one of a command's standard streams is, as `std::process::Stdio` says it; for stdin also bytes,
/// which are sent.
///
/// A file, a pipe or any other descriptor becomes the command's own: its bytes do not pass the server,
/// and it can be handed over on unix sockets only, to a server that speaks the native protocol.
///
/// ```
/// use sockproc_core::{Stdin, Stdio};
///
/// # fn main() -> std::io::Result<()> {
/// let _nothing = Stdio::null();
/// let _sent = Stdio::from("some bytes");
/// let _sent_in_pieces = Stdio::from(Stdin::from_file(std::fs::File::open("/etc/passwd")?)?);
/// let _handed_over = Stdio::from(std::fs::File::open("/etc/passwd")?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Stdio(pub(super) Kind);

#[derive(Debug)]
pub(super) enum Kind {
    Null,
    Inherit,
    Piped,
    AsStdout,
    Descriptor(OwnedFd),
    Data(Stdin),
}

impl Stdio {
    /// `/dev/null`.
    #[must_use]
    pub fn null() -> Self {
        Self(Kind::Null)
    }

    /// The same as this process's own stream, which is handed over.
    #[must_use]
    pub fn inherit() -> Self {
        Self(Kind::Inherit)
    }

    /// A pipe: after `spawn` its other end is in `Child`, `output` reads it to its end.
    #[must_use]
    pub fn piped() -> Self {
        Self(Kind::Piped)
    }

    /// The same as stdout, for stderr only: what is written to both stays in its order.
    #[must_use]
    pub fn as_stdout() -> Self {
        Self(Kind::AsStdout)
    }
}

impl Kind {
    /// A copy of the descriptor that is handed over, if this is one; `own` is what is inherited.
    pub(super) fn descriptor(&self, own: BorrowedFd<'_>) -> Option<io::Result<OwnedFd>> {
        match self {
            Self::Inherit => Some(own.try_clone_to_owned()),
            Self::Descriptor(fd) => Some(fd.as_fd().try_clone_to_owned()),
            Self::Null | Self::Piped | Self::AsStdout | Self::Data(_) => None,
        }
    }
}

/// A descriptor cannot be copied, or a pipe not made: nothing was sent.
pub(super) fn no_descriptor(source: io::Error) -> Error {
    Error::Descriptor(source)
}

macro_rules! from_descriptor {
    ($($descriptor:ty),*) => {$(
        /// It is handed over.
        impl From<$descriptor> for Stdio {
            fn from(descriptor: $descriptor) -> Self {
                Self(Kind::Descriptor(descriptor.into()))
            }
        }
    )*};
}

from_descriptor!(
    File,
    OwnedFd,
    io::PipeReader,
    io::PipeWriter,
    std::process::ChildStdin,
    std::process::ChildStdout,
    std::process::ChildStderr
);

macro_rules! from_bytes {
    ($($bytes:ty),*) => {$(
        /// The bytes are sent; only for stdin.
        impl From<$bytes> for Stdio {
            fn from(bytes: $bytes) -> Self {
                Self(Kind::Data(Stdin::from(bytes)))
            }
        }
    )*};
}

from_bytes!(&'static str, &'static [u8], String, Vec<u8>, Bytes);

/// It is sent; only for stdin.
impl From<Stdin> for Stdio {
    fn from(stdin: Stdin) -> Self {
        Self(Kind::Data(stdin))
    }
}
