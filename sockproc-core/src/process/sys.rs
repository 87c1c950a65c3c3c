//! System calls that rustix lacks.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use libc::c_int;

/// Bytes that were written to a socket and have not been taken by its peer: not acknowledged (tcp(7)),
/// or not read (unix(7)).
pub(crate) fn untaken(socket: impl AsFd) -> io::Result<u64> {
    let mut len: c_int = 0;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the descriptor is borrowed, and the call writes one int.
    match unsafe { libc::ioctl(fd, libc::TIOCOUTQ, &raw mut len) } {
        0 => Ok(len.unsigned_abs().into()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Keeps glibc from taking a heap of its own for each thread, 64 MiB of address space, up to eight a
/// core: under `ulimit -v` they leave no room for what is to be in them. Threads that run already keep
/// theirs.
#[cfg(feature = "cli")]
pub(crate) fn limit_heaps(count: usize) {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt sets a number under the allocator's own lock.
    unsafe {
        libc::mallopt(
            libc::M_ARENA_MAX,
            c_int::try_from(count).unwrap_or(c_int::MAX),
        );
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    let _ = count;
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn what_the_peer_has_read_is_taken() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        assert_eq!(untaken(&ours).unwrap(), 0);
        ours.write_all(b"x").unwrap();
        assert!(untaken(&ours).unwrap() > 0);
        theirs.read_exact(&mut [0]).unwrap();
        assert_eq!(untaken(&ours).unwrap(), 0);
    }
}
