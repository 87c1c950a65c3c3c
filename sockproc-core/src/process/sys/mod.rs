//! System calls that rustix lacks.
#![allow(unsafe_code)]

mod signals;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::ptr;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use libc::{c_int, c_void};
use rustix::process::Pid;

use super::leader::Reaped;
use super::newborn::Newborn;
use super::spawn::CHILD_STACK_LEN;
use crate::proto::WaitStatus;

#[cfg(feature = "cli")]
pub(crate) use signals::ignore_signals;
pub(super) use signals::{LAST_SIGNAL, SignalsBlocked, set_action};
pub(crate) use signals::{is_default, prepare_signals};

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
        newborn.set_pid(libc::getpid());
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

/// Writes some bytes to a descriptor; async-signal-safe.
pub(super) fn write_raw(fd: RawFd, bytes: &[u8]) {
    // SAFETY: the bytes are there; a number that is no descriptor only makes the call fail.
    unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
}

/// Sends a signal, of the real-time ones too, to the process of a pidfd.
pub(super) fn pidfd_signal(pidfd: BorrowedFd<'_>, signal: c_int) {
    let none: *const libc::siginfo_t = ptr::null();
    // SAFETY: the descriptor is borrowed; a wrong signal number only makes the call fail.
    unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            none,
            0,
        )
    };
}

/// Sends a signal to a process group whose number is pinned.
pub(super) fn kill_group(group: Pid, signal: c_int) {
    // SAFETY: the call takes numbers.
    unsafe { libc::kill(-group.as_raw_nonzero().get(), signal) };
}

/// Waits for a child that has exited, and returns its wait status and what its processor time was
/// outside and inside the kernel; never blocks. The times are those of the child and of all that it has
/// waited for itself.
pub(super) fn wait4(pid: Pid) -> io::Result<Option<Reaped>> {
    let mut status: c_int = 0;
    // SAFETY: an all-zero rusage is a value of it.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    let number = pid.as_raw_nonzero().get();
    // SAFETY: both results are there for writing.
    let waited = unsafe { libc::wait4(number, &raw mut status, libc::WNOHANG, &raw mut usage) };
    match waited {
        0 => Ok(None),
        1.. => Ok(Some(Reaped {
            status: WaitStatus::from_raw(status),
            user: duration(usage.ru_utime),
            system: duration(usage.ru_stime),
        })),
        _ => Err(io::Error::last_os_error()),
    }
}

/// How the process of a pidfd has ended for which something else has waited (Linux 6.15); `None` if the
/// kernel does not tell.
pub(super) fn stolen_status(pidfd: BorrowedFd<'_>) -> Option<WaitStatus> {
    /// The first form of `struct pidfd_info` (linux/pidfd.h): two words, and twelve half ones.
    #[repr(C)]
    struct Info {
        mask: u64,
        cgroup: u64,
        ids: [u32; 11],
        exit_code: i32,
    }
    /// `_IOWR(0xFF, 11, struct pidfd_info)` of that form.
    const GET_INFO: u32 = 0xC040_FF0B;
    /// Asks for the exit code, and says that it is there.
    const EXIT: u64 = 1 << 3;
    // The encoding of ioctl numbers is another one on these.
    if cfg!(any(
        target_arch = "mips",
        target_arch = "mips64",
        target_arch = "powerpc",
        target_arch = "powerpc64",
        target_arch = "sparc64"
    )) {
        return None;
    }
    let mut info = Info {
        mask: EXIT,
        cgroup: 0,
        ids: [0; 11],
        exit_code: 0,
    };
    // SAFETY: the descriptor is borrowed, and the call writes as much as its number says.
    let told = unsafe { libc::ioctl(pidfd.as_raw_fd(), GET_INFO as _, &raw mut info) };
    (told == 0 && info.mask & EXIT != 0).then(|| WaitStatus::from_raw(info.exit_code))
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let micros = u64::try_from(time.tv_usec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(micros)
}

/// Keeps from our commands the descriptors that the starter of this process has left open.
///
/// Every spawn does the same for later ones; this serves kernels without close_range(2).
pub(crate) fn close_inherited_fds() {
    let Ok(fds) = std::fs::read_dir("/proc/self/fd") else {
        return;
    };
    let numbers = fds
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    for fd in numbers.filter(|&fd: &RawFd| fd > 2) {
        // SAFETY: fcntl on a number that may be no descriptor any more only fails.
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}

/// Closes what this process has inherited, but for `kept` and the standard streams. To be called before
/// this process has any descriptor of its own.
#[cfg(feature = "cli")]
pub(crate) fn close_all_but(kept: &std::os::fd::OwnedFd) {
    let kept = kept.as_raw_fd();
    let Ok(fds) = std::fs::read_dir("/proc/self/fd") else {
        return;
    };
    // The directory's own is among them, and closed when it has been read.
    let numbers: Vec<RawFd> = fds
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|&fd| fd > 2 && fd != kept)
        .collect();
    for fd in numbers {
        // SAFETY: the caller says that nothing in this process uses it. A number that is no descriptor any
        // more only makes the call fail.
        unsafe { libc::close(fd) };
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
