//! Who is at the other end, for the log.

use std::fmt;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use rustix::net::{getpeername, sockopt::socket_peercred};

use super::socket::{Socket, Transport};

/// Prints a connection's peer; asks the kernel only when it is printed.
pub(crate) struct Peer<'a>(pub(crate) &'a Socket);

impl fmt::Display for Peer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fd = self.0.as_fd();
        match self.0.transport() {
            Transport::Unix => match socket_peercred(fd) {
                Ok(peer) => write!(
                    f,
                    "uid {} pid {}",
                    peer.uid.as_raw(),
                    peer.pid.as_raw_nonzero()
                ),
                Err(error) => write!(f, "unknown ({error})"),
            },
            Transport::Tcp => match getpeername(fd).ok().flatten().map(SocketAddr::try_from) {
                Some(Ok(address)) => address.fmt(f),
                _ => write!(f, "gone"),
            },
        }
    }
}
