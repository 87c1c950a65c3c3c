//! What this process does at signals.

use std::ptr;

use libc::c_int;

/// Has this process ignore every signal that would end or stop it, SIGKILL and SIGSTOP excepted. A fault
/// of its own ends it all the same: the kernel does not let that be ignored.
#[cfg(feature = "cli")]
pub(crate) fn ignore_signals() {
    let kept = [libc::SIGCHLD, libc::SIGKILL, libc::SIGSTOP];
    for signal in (1..=LAST_SIGNAL).filter(|signal| !kept.contains(signal)) {
        set_action(signal, libc::SIG_IGN);
    }
}

/// Makes this process fit to own commands. SIGCHLD gets its default: where it is ignored, the kernel
/// forgets every wait status. SIGXFSZ is ignored: a spill file at the size limit is an error of one
/// write (setrlimit(2)), not the server's end.
pub(crate) fn prepare_signals() {
    set_action(libc::SIGCHLD, libc::SIG_DFL);
    set_action(libc::SIGXFSZ, libc::SIG_IGN);
}

/// All signals of this thread blocked until dropped, so that no handler of ours runs in the child.
pub(in crate::process) struct SignalsBlocked(libc::sigset_t);

impl SignalsBlocked {
    pub(in crate::process) fn all() -> Self {
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

/// Signals 1–64 on Linux; the real-time ones are among them.
pub(in crate::process) const LAST_SIGNAL: c_int = 64;

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
pub(in crate::process) fn set_action(signal: c_int, handler: libc::sighandler_t) {
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
