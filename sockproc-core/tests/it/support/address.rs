//! Where a server listens.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with, sockopt,
};

use super::{Connection, Setup, TestServer};

/// What a connection travels over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Unix,
    Tcp,
}

impl Transport {
    /// A server in the foreground, started by the classic command line.
    pub(crate) fn server(self) -> TestServer {
        self.setup().start()
    }

    pub(crate) fn setup(self) -> Setup {
        Setup::new(self)
    }
}

/// Where a server listens.
#[derive(Clone, Debug)]
pub(crate) enum Address {
    Unix(PathBuf),
    Tcp(u16),
}

impl Address {
    pub(crate) fn connect(&self) -> io::Result<Connection> {
        Ok(match self {
            Address::Unix(path) => Connection::new(UnixStream::connect(path)?),
            Address::Tcp(port) => {
                Connection::new(TcpStream::connect((Ipv4Addr::LOCALHOST, *port))?)
            }
        })
    }

    /// As the classic command line takes it.
    pub(crate) fn word(&self) -> OsString {
        match self {
            Address::Unix(path) => path.into(),
            Address::Tcp(port) => port.to_string().into(),
        }
    }

    /// As named options take it.
    pub(crate) fn full(&self) -> OsString {
        match self {
            Address::Unix(path) => format!("unix:{}", path.display()).into(),
            Address::Tcp(port) => format!("127.0.0.1:{port}").into(),
        }
    }

    /// Whether a server listens here. TCP is not connected to: the server would take it for a request.
    pub(crate) fn is_served(&self) -> bool {
        match self {
            Address::Unix(path) => UnixStream::connect(path).is_ok(),
            Address::Tcp(port) => {
                let listening = format!(" 0100007F:{port:04X} 00000000:0000 0A ");
                fs::read_to_string("/proc/net/tcp")
                    .unwrap()
                    .contains(&listening)
            }
        }
    }
}

/// A loopback port that only the server can use while the guard lives. The kernel assigns it to a socket without SO_REUSEADDR,
/// and so to no other; then the guard, which never listens, lets one server with SO_REUSEADDR bind it too.
pub(crate) fn reserve_port() -> (u16, OwnedFd) {
    let guard = socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .unwrap();
    bind(&guard, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
    sockopt::set_socket_reuseaddr(&guard, true).unwrap();
    let port = SocketAddrV4::try_from(getsockname(&guard).unwrap())
        .unwrap()
        .port();
    (port, guard)
}
