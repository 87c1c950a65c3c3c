//! The control socket: what is sent on it, by either side.
//!
//! Its messages keep their limits (`SOCK_SEQPACKET`). The first is [`OWNER`], with a file that holds the
//! environment for commands, in the form of environ(7), and the owner's pidfd where there is one. Each of
//! the others hands over one end of a connection. The end of the file says that no more will come. The
//! helper sends nothing, or, where it cannot serve, the reason.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    self, AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    SocketFlags, SocketType,
};

use super::file_id::FileId;

/// The first message.
pub(crate) const OWNER: &[u8] = b"owner";

/// The name of the file that the environment is in.
pub(super) const ENVIRONMENT: &str = "sockproc-environment";

/// A connection.
const RUN: &[u8] = b"run";

/// The longest reason that is read.
pub(crate) const REASON_LEN: usize = 1024;

/// The owner's end.
#[derive(Debug)]
pub(super) struct Control {
    /// `None` once it is given up.
    socket: Option<OwnedFd>,
    /// What the descriptor was when it was made.
    file: FileId,
    pid: u32,
}

impl Control {
    /// A new control socket, and the helper's end of it.
    pub(super) fn new() -> io::Result<(Self, OwnedFd)> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, its) = net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        let control = Self {
            file: FileId::of(&rustix::fs::fstat(&ours)?),
            socket: Some(ours),
            pid: std::process::id(),
        };
        Ok((control, its))
    }

    /// Says who the owner is.
    pub(super) fn introduce(&self, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.send(OWNER, descriptors)
    }

    /// Hands a connection over.
    pub(super) fn hand_over(&self, connection: BorrowedFd<'_>) -> io::Result<()> {
        self.send(RUN, &[connection])
    }

    /// Why the helper could not serve, if it has said so.
    pub(super) fn reason(&self) -> Option<String> {
        let mut buffer = [0; REASON_LEN];
        let flags = RecvFlags::DONTWAIT | RecvFlags::PEEK;
        let socket = self.socket.as_ref().filter(|_| self.is_open())?;
        let mut receive = || net::recv(socket, &mut buffer, flags);
        // Once for the connections that the helper has not taken; its words come behind that.
        let received = receive().or_else(|error| match error {
            Errno::CONNRESET => receive(),
            error => Err(error),
        });
        match received {
            Ok((len, _)) if len > 0 => Some(String::from_utf8_lossy(&buffer[..len]).into_owned()),
            _ => None,
        }
    }

    /// Whether the descriptor is still what it was: a host that becomes a daemon may close all that it
    /// finds, and open something else under this number.
    pub(super) fn is_open(&self) -> bool {
        let found = self.socket.as_ref().map(rustix::fs::fstat);
        matches!(found, Some(Ok(stat)) if FileId::of(&stat) == self.file)
    }

    fn send(&self, message: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let socket = self.socket.as_ref().filter(|_| self.is_open());
        let socket = socket.ok_or(io::ErrorKind::BrokenPipe)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let parts = [IoSlice::new(message)];
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        rustix::io::retry_on_intr(|| net::sendmsg(socket.as_fd(), &parts, &mut control, flags))?;
        Ok(())
    }
}

/// The helper sees the end of the file at once, whoever was forked with a copy of the descriptor; a
/// forked child only closes its copy.
impl Drop for Control {
    fn drop(&mut self) {
        let is_open = self.is_open();
        let Some(socket) = self.socket.take() else {
            return;
        };
        if !is_open {
            // The number is somebody else's: to be closed by them.
            let _ = std::os::fd::IntoRawFd::into_raw_fd(socket);
        } else if self.pid == std::process::id() {
            // Fails only where the helper has gone.
            let _ = net::shutdown(&socket, net::Shutdown::Write);
        }
    }
}

/// The environment and the owner.
const MAX_DESCRIPTORS: usize = 2;
