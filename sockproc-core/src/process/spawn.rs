//! Plan → running leader.
//!
//! The child is made by `clone(CLONE_VM | CLONE_VFORK | CLONE_PIDFD)`: as cheap as `posix_spawn` for
//! a caller of any size, and the pidfd comes with it. Until `execve` it runs in our memory while the
//! calling thread stands still, so it makes raw async-signal-safe calls only (signal-safety(7)). It is
//! clone and not clone3, which seccomp filters of containers refuse.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::Ordering::Release;

use rustix::process::{
    Pid, PidfdFlags, Rlimit, Signal, WaitOptions, getpid, kill_process_group, pidfd_open, waitpid,
};

use super::CommandLine;
use super::leaders::Newborn;

/// What the child needs before `execve`; it touches nothing else.
pub(super) const CHILD_STACK_LEN: usize = 64 * 1024;

/// Keeps descriptors that whoever started us has left open from our commands, once and for all.
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

/// Makes this process fit to own commands. SIGCHLD gets its default: where it is ignored, the kernel
/// forgets every wait status. SIGXFSZ is ignored: a spill file at the size limit is an error of one
/// write (setrlimit(2)), not the server's end.
pub(crate) fn prepare_signals() {
    set_action(libc::SIGCHLD, libc::SIG_DFL);
    set_action(libc::SIGXFSZ, libc::SIG_IGN);
}

/// Everything that a child needs, prepared so that it need not allocate.
pub(super) struct Plan<'a> {
    program: &'a CStr,
    argv: Vec<*const c_char>,
    environment: Vec<*const c_char>,
    /// What become its descriptors 0, 1 and 2; none of them is one of these numbers yet.
    stdio: [RawFd; 3],
    /// Whether it gets a session of its own, not only a process group.
    pub(super) new_session: bool,
    /// The `cgroup.procs` of the cgroup that it enters.
    pub(super) cgroup: Option<RawFd>,
    /// The limit on open files to set, if it is to differ from ours.
    pub(super) open_files: Option<&'a Rlimit>,
    /// Signals to put back to their default.
    pub(super) signals: &'a [c_int],
    /// The number of this process.
    parent: c_int,
    /// Where the child writes its number.
    newborn: &'a Newborn,
    /// Written by the child into our memory when it fails.
    error: c_int,
}

impl<'a> Plan<'a> {
    pub(super) fn new(
        line: &'a CommandLine,
        environment: &'a [CString],
        stdio: [RawFd; 3],
        newborn: &'a Newborn,
    ) -> Self {
        Self {
            program: &line.program,
            argv: null_ended(&line.argv),
            environment: null_ended(environment),
            stdio,
            new_session: false,
            cgroup: None,
            open_files: None,
            signals: &[],
            parent: getpid().as_raw_nonzero().get(),
            newborn,
            error: 0,
        }
    }

    /// Clones, and returns once the child has executed its program or failed to.
    pub(super) fn execute(&mut self) -> io::Result<(Pid, OwnedFd)> {
        thread_local! {
            static STACK: RefCell<Vec<u8>> = RefCell::new(vec![0; CHILD_STACK_LEN]);
        }
        let mut pidfd: c_int = -1;
        let blocked = SignalsBlocked::all();
        let pid = STACK.with_borrow_mut(|stack| {
            let top = stack.as_mut_ptr_range().end;
            let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
            // SAFETY: the stack is this thread's own and CLONE_VFORK keeps the thread here until the
            // child has left it; its top is aligned by the wrapper; `self` and `pidfd` outlive the
            // child's use of them for the same reason; `in_child` makes async-signal-safe calls only.
            unsafe {
                libc::clone(
                    in_child,
                    top.cast(),
                    flags,
                    ptr::from_mut(self).cast(),
                    ptr::from_mut(&mut pidfd),
                )
            }
        });
        let result = if pid < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        };
        drop(blocked);
        result?;
        let pid = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidData)?;
        if self.error != 0 {
            // It has failed and ended: nobody else waits for this pid.
            let _ = waitpid(Some(pid), WaitOptions::empty());
        }
        // SAFETY: the kernel has just made this descriptor for us.
        let pidfd = (pidfd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(pidfd) });
        match self.error {
            0 => Ok((pid, or_open(pidfd, pid)?)),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }
}

/// Before Linux 5.2 `CLONE_PIDFD` is ignored. A child that cannot be watched is ended again.
fn or_open(pidfd: Option<OwnedFd>, pid: Pid) -> io::Result<OwnedFd> {
    if let Some(pidfd) = pidfd {
        return Ok(pidfd);
    }
    pidfd_open(pid, PidfdFlags::empty()).map_err(|error| {
        let _ = kill_process_group(pid, Signal::KILL);
        let _ = waitpid(Some(pid), WaitOptions::empty());
        error.into()
    })
}

/// Everything between clone and execve, in the child, in our memory.
extern "C" fn in_child(plan: *mut c_void) -> c_int {
    // SAFETY: `execute` passes a `Plan` that outlives this call. Each call below is async-signal-safe
    // (signal-safety(7)) or a bare system call; none allocates, locks or unwinds.
    unsafe {
        let plan = &mut *plan.cast::<Plan<'_>>();
        plan.newborn.store(libc::getpid(), Release);
        // A command must not take the death of its server for the end of its input.
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        if libc::getppid() != plan.parent {
            libc::_exit(127);
        }
        if plan.new_session {
            libc::setsid();
        } else {
            libc::setpgid(0, 0);
        }
        // First of all: what it leads to is in the cgroup, too.
        if let Some(cgroup) = plan.cgroup
            && libc::write(cgroup, c"0".as_ptr().cast(), 1) < 0
        {
            plan.error = *libc::__errno_location();
            libc::_exit(127);
        }
        for (target, &fd) in (0..).zip(&plan.stdio) {
            if libc::dup2(fd, target) < 0 {
                plan.error = *libc::__errno_location();
                libc::_exit(127);
            }
        }
        if let Some(limit) = plan.open_files {
            let value = |n: Option<u64>| n.unwrap_or(libc::RLIM_INFINITY);
            let limit = libc::rlimit {
                rlim_cur: value(limit.current),
                rlim_max: value(limit.maximum),
            };
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
        libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0);
        for &signal in plan.signals {
            set_action(signal, libc::SIG_DFL);
        }
        // Last: a signal that was waiting now meets its default, not a handler of ours.
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
        libc::execve(
            plan.program.as_ptr(),
            plan.argv.as_ptr(),
            plan.environment.as_ptr(),
        );
        plan.error = *libc::__errno_location();
        libc::_exit(127)
    }
}

/// All signals of this thread blocked until dropped, so that no handler of ours runs in the child.
pub(super) struct SignalsBlocked(libc::sigset_t);

impl SignalsBlocked {
    pub(super) fn all() -> Self {
        // SAFETY: both sets are valid for writing; an all-zero sigset_t is a value of it.
        unsafe {
            let (mut all, mut before): (libc::sigset_t, libc::sigset_t) = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
            Self(before)
        }
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        // SAFETY: the set was filled in by `all`.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, ptr::null_mut()) };
    }
}

/// The kernel's own `struct sigaction`, of any architecture: all zero is the default, and the
/// handler comes first. glibc's calls refuse its internal signals 32 and 33, which its `posix_spawn`
/// leaves ignored in what it starts (sysdeps/unix/sysv/linux/spawni.c).
type KernelSigaction = [usize; 8];

/// Bytes in the kernel's signal mask.
const KERNEL_SIGSET_LEN: usize = 8;

/// Whether this process neither handles nor ignores `signal`.
pub(crate) fn is_default(signal: c_int) -> bool {
    let mut action: KernelSigaction = [0; 8];
    let none: *const KernelSigaction = ptr::null();
    // SAFETY: without a new action the call only fills in `action`, which is large enough.
    let result = unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            none,
            &raw mut action,
            KERNEL_SIGSET_LEN,
        )
    };
    result != 0 || action[0] == libc::SIG_DFL
}

/// Gives a signal its default or has it ignored: a bare system call, fit for the child.
fn set_action(signal: c_int, handler: libc::sighandler_t) {
    let action: KernelSigaction = [handler, 0, 0, 0, 0, 0, 0, 0];
    let none: *mut KernelSigaction = ptr::null_mut();
    // SAFETY: neither handler is a function to be called; nothing is written back.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            &raw const action,
            none,
            KERNEL_SIGSET_LEN,
        )
    };
}

/// The array of pointers that `execve` wants.
fn null_ended(strings: &[CString]) -> Vec<*const c_char> {
    strings
        .iter()
        .map(|string| string.as_ptr())
        .chain([ptr::null()])
        .collect()
}
