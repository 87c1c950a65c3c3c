//! A non-blocking stream socket, unix or TCP.

use std::io::{self, IoSlice, Read};
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{
    self, AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
};

use crate::proto::native::MAX_DESCRIPTORS;
use crate::{Address, AddressKind};

/// Buffers that are sent at once: a request, and a piece of stdin behind its header.
pub(super) const MAX_PARTS: usize = 4;

#[derive(Debug)]
pub(super) enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// What came of asking the kernel for a connection.
#[derive(Debug)]
pub(super) enum Connecting {
    Connected,
    /// The socket becomes writable when it is decided.
    InProgress,
    /// The listener's backlog is full, which no readiness tells the end of: ask again.
    BacklogFull,
}

impl Socket {
    /// An unconnected socket of the kind that `address` needs.
    pub(super) fn open(address: &Address) -> io::Result<Self> {
        match address.kind() {
            AddressKind::Unix(_) => Ok(Self::Unix(stream(AddressFamily::UNIX)?.into())),
            AddressKind::Tcp(address) => {
                let family = if address.is_ipv4() {
                    AddressFamily::INET
                } else {
                    AddressFamily::INET6
                };
                let socket = TcpStream::from(stream(family)?);
                // Else the last bytes of a long stdin wait for the peer's delayed acknowledgement.
                socket.set_nodelay(true)?;
                Ok(Self::Tcp(socket))
            }
        }
    }

    /// A socket that is connected already.
    pub(super) fn from_connected(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(match net::getsockname(&socket)?.address_family() {
            AddressFamily::UNIX => Self::Unix(socket.into()),
            _ => Self::Tcp(socket.into()),
        })
    }

    pub(super) fn connect(&self, address: &Address) -> io::Result<Connecting> {
        let result = match address.kind() {
            AddressKind::Unix(path) => net::connect(self, &SocketAddrUnix::new(path)?),
            AddressKind::Tcp(address) => net::connect(self, &address),
        };
        match result {
            Ok(()) => Ok(Connecting::Connected),
            Err(Errno::INPROGRESS | Errno::INTR) => Ok(Connecting::InProgress),
            Err(Errno::AGAIN) if matches!(self, Self::Unix(_)) => Ok(Connecting::BacklogFull),
            Err(error) => Err(error.into()),
        }
    }

    /// How a connection that was in progress turned out.
    pub(super) fn connect_result(&self) -> io::Result<()> {
        Ok(net::sockopt::socket_error(self)??)
    }

    /// Sends the beginning of `parts`, and with its first byte copies of `descriptors`. A peer that is
    /// gone is an error, never a SIGPIPE.
    pub(super) fn send(
        &self,
        parts: &[&[u8]; MAX_PARTS],
        descriptors: &[OwnedFd],
    ) -> io::Result<usize> {
        let slices = parts.map(IoSlice::new);
        let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !borrowed.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&borrowed)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        loop {
            match net::sendmsg(self, &slices, &mut control, SendFlags::NOSIGNAL) {
                Err(Errno::INTR) => {}
                result => return Ok(result?),
            }
        }
    }

    pub(super) fn reader(&mut self) -> &mut dyn Read {
        match self {
            Self::Unix(socket) => socket,
            Self::Tcp(socket) => socket,
        }
    }

    /// Ends this side: the peer reads end of file, and may still answer.
    pub(super) fn half_close(&self) -> io::Result<()> {
        Ok(net::shutdown(self, net::Shutdown::Write)?)
    }

    /// Makes the peer see that we are gone, even if a forked process holds a copy of this socket.
    ///
    /// On TCP the end of the stream would look like a half-close, so it is a reset: connecting to
    /// no address sends one at once, lingering for no time sends one at the last close.
    pub(super) fn abort(&self) {
        // Whatever fails here has failed because the connection is gone already.
        match self {
            Self::Unix(_) => drop(net::shutdown(self, net::Shutdown::Both)),
            Self::Tcp(_) => {
                let _ = net::sockopt::set_socket_linger(self, Some(Duration::ZERO));
                if !cfg!(target_os = "linux") || net::connect_unspec(self).is_err() {
                    let _ = net::shutdown(self, net::Shutdown::Both);
                }
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(socket) => socket.as_fd(),
            Self::Tcp(socket) => socket.as_fd(),
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
fn stream(family: AddressFamily) -> io::Result<OwnedFd> {
    let flags = net::SocketFlags::NONBLOCK | net::SocketFlags::CLOEXEC;
    Ok(net::socket_with(
        family,
        net::SocketType::STREAM,
        flags,
        None,
    )?)
}

/// Where a socket cannot be made with its flags set, another thread's fork may see it without.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
fn stream(family: AddressFamily) -> io::Result<OwnedFd> {
    let socket = net::socket(family, net::SocketType::STREAM, None)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}
