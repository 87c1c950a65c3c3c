//! System calls that rustix lacks.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::ptr;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Release, SeqCst};

use libc::{c_int, c_void};
use rustix::process::Pid;

use super::leaders::Newborn;
use super::spawn::{CHILD_STACK_LEN, SignalsBlocked};

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

/// Starts a process that shares our memory and descriptors, and returns once it has ended: when the
/// process of the pidfd `server` has, or when it sees at a look that `users` is 0.
pub(super) fn share_descriptors(
    server: RawFd,
    users: &AtomicUsize,
    newborn: &Newborn,
) -> io::Result<Pid> {
    let mut stack = vec![0_u8; CHILD_STACK_LEN];
    let mut sharer = (server, users, newborn);
    let _blocked = SignalsBlocked::all();
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_FILES | libc::SIGCHLD;
    let (top, argument) = (stack.as_mut_ptr_range().end, ptr::from_mut(&mut sharer));
    // SAFETY: CLONE_VFORK keeps this thread here until the child has ended, so that its stack, `sharer`
    // and this thread's errno are the child's alone; `until_unused` makes async-signal-safe calls only.
    let pid = unsafe { libc::clone(until_unused, top.cast(), flags, argument.cast()) };
    let pid = (pid > 0).then(|| Pid::from_raw(pid)).flatten();
    pid.ok_or_else(io::Error::last_os_error)
}

/// What the child of [`share_descriptors`] does. It is in a session of its own, where no signal to the
/// server's group reaches it.
extern "C" fn until_unused(sharer: *mut c_void) -> c_int {
    /// Milliseconds between two looks.
    const LOOK: c_int = 250;
    // SAFETY: `share_descriptors` passes a value of this type that outlives the call. Each call below is
    // async-signal-safe (signal-safety(7)).
    unsafe {
        let (server, users, newborn) = *sharer.cast::<(RawFd, &AtomicUsize, &Newborn)>();
        newborn.store(libc::getpid(), Release);
        libc::setsid();
        let mut end = libc::pollfd {
            fd: server,
            events: libc::POLLIN,
            revents: 0,
        };
        while libc::poll(&raw mut end, 1, LOOK) == 0 && users.load(SeqCst) > 0 {}
        libc::_exit(0)
    }
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
