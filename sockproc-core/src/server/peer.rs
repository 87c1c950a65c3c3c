//! Who is at the other end, for the log.

use std::fmt;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use rustix::net::getpeername;

use super::accepted::{Accepted, Transport};

/// Prints a connection's peer; asks the kernel only when it is printed.
pub(crate) struct Peer<'a>(pub(crate) &'a Accepted);

impl fmt::Display for Peer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fd = self.0.as_fd();
        match self.0.transport() {
            Transport::Unix => match getsockopt(&fd, PeerCredentials) {
                // The kernel says 0 for a process that has no number in our pid namespace.
                Ok(peer) if peer.pid() == 0 => {
                    write!(f, "uid {} outside of this pid namespace", peer.uid())
                }
                Ok(peer) => write!(f, "uid {} pid {}", peer.uid(), peer.pid()),
                Err(error) => write!(f, "unknown ({error})"),
            },
            Transport::Tcp => match getpeername(fd).ok().flatten().map(SocketAddr::try_from) {
                Some(Ok(address)) => address.fmt(f),
                _ => write!(f, "gone"),
            },
        }
    }
}
