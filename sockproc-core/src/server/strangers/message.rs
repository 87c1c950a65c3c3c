//! What one read of a unix socket brings: bytes, and descriptors with them.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};

use crate::server::budget::Taken;

/// The most that the kernel passes with one message (`SCM_MAX_FD`).
pub(in crate::server) const MAX_FDS: usize = 253;

/// The kernel also fills the room that is there for alignment (cmsg(3)).
pub(super) const SPARE_FDS: usize = 3;

/// What one read has brought.
#[derive(Default)]
pub(crate) struct Received {
    /// How many bytes.
    pub(crate) len: usize,
    pub(crate) fds: Vec<OwnedFd>,
    /// Whether some descriptors were lost on the way: there were not enough numbers for them.
    pub(crate) is_cut: bool,
    /// The numbers of `fds`, if these are counted.
    pub(in crate::server) taken: Option<Taken>,
}

/// What comes next in a unix socket.
pub(crate) enum Next {
    /// Some come with the next bytes, or with those behind them.
    Descriptors,
    /// So many bytes without any; 0 at the end.
    Bytes(usize),
}

/// Reads from a unix socket. Descriptors that come with the bytes are the caller's, at most `most`.
///
/// The kernel closes those beyond at once, and the call may last for as long as that.
pub(crate) fn receive(
    socket: impl AsFd,
    buffer: &mut [u8],
    most: usize,
) -> rustix::io::Result<Received> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let len = match most {
        0 => 0,
        most => rustix::cmsg_space!(ScmRights(most)).min(space.len()),
    };
    let mut control = RecvAncillaryBuffer::new(&mut space[..len]);
    let mut parts = [IoSliceMut::new(buffer)];
    let message = recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut fds = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(sent) = part {
            fds.extend(sent);
        }
    }
    Ok(Received {
        len: message.bytes,
        fds,
        is_cut: message.flags.contains(ReturnFlags::CTRUNC),
        taken: None,
    })
}

/// Whether what comes next in a unix socket brings descriptors, and otherwise how many bytes of it
/// bring none.
pub(crate) fn look(socket: impl AsFd, buffer: &mut [u8]) -> rustix::io::Result<Next> {
    let mut parts = [IoSliceMut::new(buffer)];
    // Those that are looked at only stay where they are: nothing is closed.
    let mut control = RecvAncillaryBuffer::default();
    let message = recvmsg(socket, &mut parts, &mut control, RecvFlags::PEEK)?;
    Ok(match message.flags.contains(ReturnFlags::CTRUNC) {
        true => Next::Descriptors,
        false => Next::Bytes(message.bytes),
    })
}
