//! Where a server listens: a unix socket, or a TCP port of 127.0.0.1.

use std::ffi::OsStr;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The longest path of a unix socket, in bytes: `sun_path` holds 108 with the NUL (unix(7)).
const MAX_UNIX_PATH_LEN: usize = 107;

/// The address of a server: one that can be listened on and connected to.
///
/// ```
/// use sockproc_core::Address;
///
/// assert_eq!("/run/sockproc.sock".parse(), Address::unix("/run/sockproc.sock"));
/// assert_eq!("unix:/run/sockproc.sock".parse(), Address::unix("/run/sockproc.sock"));
/// assert_eq!("13000".parse(), Address::tcp(13000));
/// assert_eq!("localhost:13000".parse::<Address>()?.to_string(), "127.0.0.1:13000");
/// assert!("70000".parse::<Address>().is_err());
/// # Ok::<(), sockproc_core::AddressError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address(Place);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Place {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

/// What an [`Address`] holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressKind<'a> {
    /// The path of a unix socket: 1 to 107 bytes, without NUL.
    Unix(&'a Path),
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
    /// The unix socket at `path`.
    ///
    /// # Errors
    /// The path is empty, holds a NUL or is longer than 107 bytes.
    pub fn unix(path: impl Into<PathBuf>) -> Result<Self, AddressError> {
        let path = path.into();
        let bytes = path.as_os_str().as_bytes();
        match bytes.len() {
            0 => Err(AddressError::Empty),
            _ if bytes.contains(&0) => Err(AddressError::NulInPath { path }),
            1..=MAX_UNIX_PATH_LEN => Ok(Self(Place::Unix(path))),
            len => Err(AddressError::PathTooLong { path, len }),
        }
    }

    /// A TCP port of 127.0.0.1.
    ///
    /// # Errors
    /// [`AddressError::Port`] for 0.
    pub fn tcp(port: u16) -> Result<Self, AddressError> {
        match port {
            0 => Err(AddressError::Port {
                port: port.to_string(),
            }),
            _ => Ok(Self(Place::Tcp(SocketAddr::from((
                Ipv4Addr::LOCALHOST,
                port,
            ))))),
        }
    }

    /// Reads any form of an address: `unix:PATH`, `HOST:PORT`, `PORT`, and all else is a path.
    ///
    /// # Errors
    /// [`AddressError`], which names the value.
    pub fn parse(text: &OsStr) -> Result<Self, AddressError> {
        let bytes = text.as_bytes();
        if let Some(path) = bytes.strip_prefix(b"unix:") {
            return Self::unix(OsStr::from_bytes(path));
        }
        match text.to_str().and_then(|text| text.rsplit_once(':')) {
            Some((host, port)) if !host.contains('/') && !host.is_empty() => {
                check_host(host)?;
                Self::port(port)
            }
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
                Self::port(digits)
            }
            _ => Self::unix(text),
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
        match self.0 {
            Place::Unix(path) => {
                Self::unix(std::path::absolute(path).map_err(|_| AddressError::Empty)?)
            }
            Place::Tcp(_) => Ok(self),
        }
    }

    /// What this is, to be told apart.
    #[must_use]
    pub fn kind(&self) -> AddressKind<'_> {
        match &self.0 {
            Place::Unix(path) => AddressKind::Unix(path),
            Place::Tcp(address) => AddressKind::Tcp(*address),
        }
    }

    /// The path, if this is a unix socket.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self.kind() {
            AddressKind::Unix(path) => Some(path),
            AddressKind::Tcp(_) => None,
        }
    }

    fn port(digits: &str) -> Result<Self, AddressError> {
        let wrong = || AddressError::Port {
            port: digits.to_owned(),
        };
        // `u16::from_str` takes a plus sign.
        if digits.starts_with('+') {
            return Err(wrong());
        }
        digits
            .parse()
            .ok()
            .and_then(|port| Self::tcp(port).ok())
            .ok_or_else(wrong)
    }
}

/// Refuses a host that is not 127.0.0.1.
fn check_host(host: &str) -> Result<(), AddressError> {
    match host.parse() {
        Ok(IpAddr::V4(Ipv4Addr::LOCALHOST)) => Ok(()),
        _ if host == "localhost" => Ok(()),
        _ => Err(AddressError::NotLoopback {
            host: host.to_owned(),
        }),
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
        match &self.0 {
            Place::Unix(path) => write!(f, "unix:{}", path.display()),
            Place::Tcp(address) => address.fmt(f),
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
            assert_eq!(classic(path), Address::unix(path));
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
