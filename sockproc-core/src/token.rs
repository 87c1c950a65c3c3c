//! What a client must show to a server that wants it: a secret that both have in a file.

use std::fmt;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustix::fs::OFlags;

use crate::{Address, AddressError};

/// What a token file holds. It is never printed.
#[derive(Clone)]
pub struct Token(Bytes);

/// Why a token file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The kernel's reason says why.
    #[error("cannot read the token file {path:?}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// It is a directory, a pipe or a device.
    #[error("the token file {path:?} is no regular file")]
    NoFile {
        /// The file.
        path: PathBuf,
    },
    /// Its mode lets other users at it, so it is no secret.
    #[error(
        "the token file {path:?} is open to its group or to others (mode {mode:03o}): chmod 600 it"
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It holds nothing but a newline, if that.
    #[error("the token file {path:?} is empty")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// It holds more than [`Token::MAX_LEN`] bytes.
    #[error("the token file {path:?} holds more than {} bytes", Token::MAX_LEN)]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// It holds a NUL, which no request can carry.
    #[error("the token file {path:?} holds a NUL")]
    Nul {
        /// The file.
        path: PathBuf,
    },
}

impl Token {
    /// The longest that there is, in bytes.
    pub const MAX_LEN: usize = 4096;

    /// Reads a file: all of it but one newline at its end.
    ///
    /// # Errors
    /// The file cannot be read, is no regular file, is open to its group or to others, or holds no token.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, TokenError> {
        let path = path.as_ref();
        let unreadable = |source| TokenError::Unreadable {
            path: path.to_owned(),
            source,
        };
        // A pipe without a writer must not hold us up.
        let mut options = std::fs::OpenOptions::new();
        options
            .read(true)
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed());
        let file = options.open(path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(TokenError::NoFile {
                path: path.to_owned(),
            });
        }
        let mode = metadata.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(TokenError::Open {
                path: path.to_owned(),
                mode,
            });
        }
        let mut bytes = Vec::new();
        let most = Self::MAX_LEN as u64 + 2;
        file.take(most)
            .read_to_end(&mut bytes)
            .map_err(unreadable)?;
        Self::new(bytes, path)
    }

    fn new(mut bytes: Vec<u8>, path: &Path) -> Result<Self, TokenError> {
        let path = path.to_owned();
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        }
        match bytes.len() {
            0 => Err(TokenError::Empty { path }),
            1..=Self::MAX_LEN if bytes.contains(&0) => Err(TokenError::Nul { path }),
            1..=Self::MAX_LEN => Ok(Self(bytes.into())),
            _ => Err(TokenError::TooLong { path }),
        }
    }

    /// The token for the server at `address`: that of the file which `$SOCKPROC_TOKEN_FILE` names, if
    /// `$SOCKPROC_SOCKET` names this server. No other server is shown it.
    pub(crate) fn from_env(address: &Address) -> Result<Option<Self>, TokenError> {
        match std::env::var_os("SOCKPROC_TOKEN_FILE") {
            Some(path) if !path.is_empty() && is_servers(Address::from_env(), address) => {
                Self::read(Path::new(&path)).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Whether a client has shown this token. How long that takes says nothing of how much of it is
    /// right.
    #[cfg(feature = "server")]
    pub(crate) fn is(&self, shown: &[u8]) -> bool {
        use subtle::ConstantTimeEq;
        self.0.ct_eq(shown).into()
    }
}

fn is_servers(named: Result<Option<Address>, AddressError>, address: &Address) -> bool {
    matches!(named, Ok(Some(named)) if named == *address)
}

impl From<Token> for Bytes {
    fn from(token: Token) -> Self {
        token.0
    }
}

#[cfg(feature = "server")]
impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.is(&other.0)
    }
}

#[cfg(feature = "server")]
impl Eq for Token {}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(bytes: &[u8]) -> Result<Bytes, String> {
        let read = Token::new(bytes.to_vec(), Path::new("/t"));
        read.map(|token| token.0).map_err(|error| error.to_string())
    }

    #[test]
    fn one_newline_at_the_end_is_no_part_of_it() {
        assert_eq!(token(b"secret\n"), Ok("secret".into()));
        assert_eq!(token(b" a\nb\n\n"), Ok(" a\nb\n".into()));
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for (bytes, why) in [
            (&b""[..], "empty"),
            (b"\n", "empty"),
            (b"a\0b", "NUL"),
            (&[b'x'; 4097], "more than 4096"),
        ] {
            let refused = token(bytes).unwrap_err();
            assert!(refused.contains(why) && refused.contains("/t"), "{refused}");
        }
        let longest = [&[b'x'; 4096][..], b"\n"].concat();
        assert_eq!(token(&longest).map(|token| token.len()), Ok(4096));
    }

    #[test]
    fn it_is_not_printed() {
        let token = Token::new(b"secret".to_vec(), Path::new("/t")).unwrap();
        assert!(!format!("{token:?}").contains("secret"));
    }
}
