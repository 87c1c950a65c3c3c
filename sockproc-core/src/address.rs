//! Where a server listens: a unix socket, or a TCP port of 127.0.0.1.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The longest path of a unix socket, in bytes: `sun_path` holds 108 with the NUL (unix(7)).
pub const MAX_UNIX_PATH_LEN: usize = 107;

/// The address of a server.
///
/// ```
/// use sockproc_core::Address;
///
/// assert_eq!("/run/sockproc.sock".parse(), Ok(Address::Unix("/run/sockproc.sock".into())));
/// assert_eq!("unix:/run/sockproc.sock".parse(), Ok(Address::Unix("/run/sockproc.sock".into())));
/// assert_eq!("13000".parse::<Address>()?.to_string(), "127.0.0.1:13000");
/// assert_eq!("localhost:13000".parse::<Address>()?.to_string(), "127.0.0.1:13000");
/// assert!("70000".parse::<Address>().is_err());
/// # Ok::<(), sockproc_core::AddressError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// The path of a unix socket, at most [`MAX_UNIX_PATH_LEN`] bytes, without NUL.
    Unix(PathBuf),
    /// A loopback address; its port is never 0.
    Tcp(SocketAddr),
}

/// What is wrong with an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// There is no character in it.
    #[error("address is empty")]
    Empty,
    /// The kernel takes no socket path this long.
    #[error("socket path {path:?} has {len} bytes, at most {MAX_UNIX_PATH_LEN} are possible")]
    PathTooLong {
        /// The path.
        path: PathBuf,
        /// Its length in bytes.
        len: usize,
    },
    /// A path with a NUL in it.
    #[error("socket path {path:?} holds a NUL")]
    NulInPath {
        /// The path.
        path: PathBuf,
    },
    /// A port must be a number from 1 to 65535.
    #[error("port {port:?} is not a number from 1 to 65535")]
    Port {
        /// What stood where the port belongs.
        port: String,
    },
    /// Whoever reaches a server runs commands, so it listens on loopback only.
    #[error("host {host:?} is not 127.0.0.1: reach other machines by `ssh -L` or a TLS proxy")]
    NotLoopback {
        /// What stood where the host belongs.
        host: String,
    },
}

impl AddressError {
    /// The errno that says the same: what the daemon exits with.
    #[must_use]
    pub fn errno(&self) -> i32 {
        let errno = match self {
            Self::PathTooLong { .. } => rustix::io::Errno::NAMETOOLONG,
            _ => rustix::io::Errno::INVAL,
        };
        errno.raw_os_error()
    }
}

impl Address {
    /// Reads any form of an address: `unix:PATH`, `HOST:PORT`, `PORT`, and all else is a path.
    ///
    /// # Errors
    /// [`AddressError`], which names the value.
    pub fn parse(text: &OsStr) -> Result<Self, AddressError> {
        let bytes = text.as_bytes();
        if let Some(path) = bytes.strip_prefix(b"unix:") {
            return Self::unix(path);
        }
        match text.to_str().and_then(|text| text.rsplit_once(':')) {
            Some((host, port)) if !host.contains('/') && !host.is_empty() => Self::tcp(host, port),
            _ => Self::parse_classic(text),
        }
    }

    /// Reads an address as the C daemon's command line means it: digits are a port, all else a path.
    ///
    /// # Errors
    /// [`AddressError`], which names the value.
    pub fn parse_classic(text: &OsStr) -> Result<Self, AddressError> {
        match text.to_str() {
            Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
                Self::tcp("127.0.0.1", digits)
            }
            _ => Self::unix(text.as_bytes()),
        }
    }

    /// The address that `$SOCKPROC_SOCKET` names, if it is set and not empty.
    ///
    /// # Errors
    /// [`AddressError`], which names the value.
    pub fn from_env() -> Result<Option<Self>, AddressError> {
        match std::env::var_os("SOCKPROC_SOCKET") {
            Some(text) if !text.is_empty() => Self::parse(&text).map(Some),
            _ => Ok(None),
        }
    }

    /// The same address, whatever the working directory becomes.
    ///
    /// # Errors
    /// [`AddressError::PathTooLong`], and the current directory's absence as `Empty`.
    pub fn absolute(self) -> Result<Self, AddressError> {
        match self {
            Self::Unix(path) => {
                let path = std::path::absolute(path).map_err(|_| AddressError::Empty)?;
                Self::unix(path.as_os_str().as_bytes())
            }
            tcp @ Self::Tcp(_) => Ok(tcp),
        }
    }

    /// The path, if this is a unix socket.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Unix(path) => Some(path),
            Self::Tcp(_) => None,
        }
    }

    fn unix(path: &[u8]) -> Result<Self, AddressError> {
        let owned = || PathBuf::from(OsString::from_vec(path.to_vec()));
        match path.len() {
            0 => Err(AddressError::Empty),
            _ if path.contains(&0) => Err(AddressError::NulInPath { path: owned() }),
            1..=MAX_UNIX_PATH_LEN => Ok(Self::Unix(owned())),
            len => Err(AddressError::PathTooLong { path: owned(), len }),
        }
    }

    fn tcp(host: &str, port: &str) -> Result<Self, AddressError> {
        let ip = match host {
            "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            _ => host
                .parse()
                .ok()
                .filter(|ip| *ip == IpAddr::V4(Ipv4Addr::LOCALHOST))
                .ok_or_else(|| AddressError::NotLoopback {
                    host: host.to_owned(),
                })?,
        };
        // `u16::from_str` takes a plus sign.
        let number = if port.starts_with('+') {
            0
        } else {
            port.parse().unwrap_or(0_u16)
        };
        match number {
            0 => Err(AddressError::Port {
                port: port.to_owned(),
            }),
            _ => Ok(Self::Tcp(SocketAddr::new(ip, number))),
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(OsStr::new(text))
    }
}

/// As [`Address::parse`] reads it back.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classic(text: &str) -> Result<Address, AddressError> {
        Address::parse_classic(OsStr::new(text))
    }

    #[test]
    fn digits_are_a_port_and_all_else_is_a_path() {
        assert_eq!(
            classic("13000").map(|a| a.to_string()),
            Ok("127.0.0.1:13000".into())
        );
        for path in ["13000x", "2024/x.sock", "-1", "127.0.0.1:80", "unix:/x"] {
            assert_eq!(classic(path), Ok(Address::Unix(path.into())));
        }
    }

    #[test]
    fn an_impossible_address_is_refused_by_its_value() {
        for (text, part) in [
            ("", "empty"),
            ("0", "\"0\""),
            ("70000", "\"70000\""),
            ("127.0.0.1:0", "\"0\""),
            ("127.0.0.1:+80", "\"+80\""),
            ("127.0.0.1:http", "\"http\""),
            ("0.0.0.0:80", "\"0.0.0.0\""),
            ("example.org:80", "\"example.org\""),
            ("unix:", "empty"),
            (&"x".repeat(108), "108 bytes"),
        ] {
            let message = text.parse::<Address>().unwrap_err().to_string();
            assert!(message.contains(part), "{text:?}: {message}");
        }
        assert!("x".repeat(107).parse::<Address>().is_ok());
    }

    #[test]
    fn an_address_reads_back_as_it_prints() {
        for text in ["unix:/run/a:b", "unix:relative", "127.0.0.1:1"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }
}
