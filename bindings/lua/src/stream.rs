//! A stream socket whose operations wait until a deadline.

use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::addr::SocketAddrArg;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType, sockopt,
};

/// Non-blocking inside, so that a deadline needs neither a signal nor an option of the socket.
/// A deadline that has passed is `Errno::TIMEDOUT`.
pub(crate) struct Stream(OwnedFd);

/// The end of an operation that begins now.
pub(crate) fn deadline(timeout: Option<Duration>) -> Option<Instant> {
    Instant::now().checked_add(timeout?)
}

impl Stream {
    /// # Errors
    /// `Errno::AGAIN` if the server's backlog is full: nothing was sent, try again later.
    pub(crate) fn connect_unix(path: &[u8], deadline: Option<Instant>) -> Result<Self, Errno> {
        connect(AddressFamily::UNIX, &SocketAddrUnix::new(path)?, deadline)
    }

    /// As [`connect_unix`](Self::connect_unix), but a full backlog is waited for.
    pub(crate) fn connect_patiently(path: &Path, deadline: Instant) -> Result<Self, Errno> {
        const PAUSE: Duration = Duration::from_millis(10);
        loop {
            match Self::connect_unix(path.as_os_str().as_bytes(), Some(deadline)) {
                Err(Errno::AGAIN) if Instant::now() < deadline => std::thread::sleep(PAUSE),
                other => return other,
            }
        }
    }

    pub(crate) fn connect_tcp(
        host: &str,
        port: u64,
        deadline: Option<Instant>,
    ) -> Result<Self, Errno> {
        let port = u16::try_from(port).map_err(|_| Errno::INVAL)?;
        let address = (host, port)
            .to_socket_addrs()
            .ok()
            .and_then(|mut addresses| addresses.find(SocketAddr::is_ipv4))
            .ok_or(Errno::HOSTUNREACH)?;
        connect(AddressFamily::INET, &address, deadline)
    }

    /// Waits until at least one byte is sent.
    ///
    /// # Errors
    /// `Errno::INTR` if a signal came; nothing was sent.
    pub(crate) fn send(&self, data: &[u8], deadline: Option<Instant>) -> Result<usize, Errno> {
        loop {
            match rustix::net::send(&self.0, data, SendFlags::NOSIGNAL) {
                Err(Errno::AGAIN) => wait(&self.0, PollFlags::OUT, deadline)?,
                other => return other,
            }
        }
    }

    /// Waits for at least one byte; 0 is end of file.
    ///
    /// # Errors
    /// `Errno::INTR` if a signal came; nothing is lost.
    pub(crate) fn receive(
        &self,
        buf: &mut [u8],
        deadline: Option<Instant>,
    ) -> Result<usize, Errno> {
        loop {
            match rustix::net::recv(&self.0, &mut *buf, RecvFlags::empty()) {
                Ok((len, _)) => return Ok(len),
                Err(Errno::AGAIN) => wait(&self.0, PollFlags::IN, deadline)?,
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Closes so that the server sees it whoever else holds a copy of the descriptor. A plain close
    /// of a TCP connection looks like a half-close, so that one is reset.
    pub(crate) fn abort(self) {
        // Nothing can be done about a failure, and the descriptor is closed in any case.
        let _ = sockopt::set_socket_linger(&self.0, Some(Duration::ZERO));
        let _ = rustix::net::shutdown(&self.0, Shutdown::Both);
    }
}

fn connect(
    family: AddressFamily,
    address: &impl SocketAddrArg,
    deadline: Option<Instant>,
) -> Result<Stream, Errno> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let fd = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&fd, address) {
        Err(Errno::INPROGRESS | Errno::INTR) => {
            while let Err(errno) = wait(&fd, PollFlags::OUT, deadline) {
                if errno != Errno::INTR {
                    return Err(errno);
                }
            }
            sockopt::socket_error(&fd)??;
        }
        other => other?,
    }
    Ok(Stream(fd))
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Waits until `fd` is ready.
pub(crate) fn wait(
    fd: &OwnedFd,
    events: PollFlags,
    deadline: Option<Instant>,
) -> Result<(), Errno> {
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    let timeout = left.and_then(|left| Timespec::try_from(left).ok());
    match poll(&mut [PollFd::new(fd, events)], timeout.as_ref())? {
        0 => Err(Errno::TIMEDOUT),
        _ => Ok(()),
    }
}
