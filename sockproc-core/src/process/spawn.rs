//! Command line → running leader. The only file with `unsafe`.
//!
//! The child is made by `clone(CLONE_VM | CLONE_VFORK | CLONE_PIDFD)`: as cheap as `posix_spawn` for
//! a caller of any size, and the pidfd comes with it. Until `execve` it runs in our memory while the
//! calling thread stands still, so it makes raw async-signal-safe calls only (signal-safety(7)).
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::ffi::{CString, c_char, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::ptr;
use std::sync::Arc;

use super::Orphans;

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, Rlimit};

const SHELL: &str = "/bin/sh";

/// What the child needs before `execve`; it touches nothing else.
const CHILD_STACK_LEN: usize = 64 * 1024;

/// Signals 1–64 on Linux; the real-time ones are among them.
const LAST_SIGNAL: c_int = 64;

/// Starts commands with what they inherit from this process, read once.
#[derive(Clone)]
pub(crate) struct Spawner {
    inherited: Arc<Inherited>,
    orphans: Arc<Orphans>,
}

struct Inherited {
    /// `NAME=value` strings, and pointers to them with a null at the end.
    environment: NullEnded,
    /// The limit on open files that commands get back when the server has raised its own.
    open_files: Option<Rlimit>,
    /// Signals that must be put back to their default: ignored or handled here.
    signals: Vec<c_int>,
}

/// What to execute.
pub(crate) struct CommandLine {
    program: CString,
    argv: NullEnded,
}

/// A child that has executed its program.
pub(crate) struct Started {
    pub(crate) pid: Pid,
    pub(crate) pidfd: OwnedFd,
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

impl Spawner {
    /// Reads environment and signal dispositions of this process; call it after the signal handlers
    /// are installed. `open_files` is the limit that commands are to see, if not ours.
    pub(crate) fn new(open_files: Option<Rlimit>) -> Self {
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            let mut entry = name.into_vec();
            entry.push(b'=');
            entry.append(&mut value.into_vec());
            CString::new(entry).ok()
        });
        let inherited = Inherited {
            environment: NullEnded::new(environment.collect()),
            open_files,
            signals: (1..=LAST_SIGNAL)
                .filter(|&signal| !is_default(signal))
                .collect(),
        };
        Self {
            inherited: Arc::new(inherited),
            orphans: Arc::default(),
        }
    }

    /// What knows our leaders from orphans.
    pub(crate) fn orphans(&self) -> &Arc<Orphans> {
        &self.orphans
    }

    /// Starts `line`; blocks until it has been executed.
    pub(crate) fn spawn(&self, line: &CommandLine) -> io::Result<Started> {
        let (child_stdin, stdin) = pipe()?;
        let (stdout, child_stdout) = pipe()?;
        let (stderr, child_stderr) = pipe()?;
        let mut child = Child {
            line,
            inherited: &self.inherited,
            stdio: [
                child_stdin.as_raw_fd(),
                child_stdout.as_raw_fd(),
                child_stderr.as_raw_fd(),
            ],
            error: 0,
        };
        let (pid, pidfd) = self.orphans.add_leader(|| child.start())?;
        for ours in [&stdin, &stdout, &stderr] {
            rustix::io::ioctl_fionbio(ours, true)?;
        }
        Ok(Started {
            pid,
            pidfd,
            stdin,
            stdout,
            stderr,
        })
    }
}

impl CommandLine {
    /// `/bin/sh -c command`, with no `--`: a command that begins with `-` is an option to the shell.
    pub(crate) fn shell(command: &[u8]) -> io::Result<Self> {
        let words = [SHELL.as_bytes(), b"-c", command].map(CString::new);
        let [program, option, command] = words;
        let (program, option, command) = (program?, option?, command?);
        Ok(Self {
            argv: NullEnded::new(vec![program.clone(), option, command]),
            program,
        })
    }
}

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

/// The child's view: everything it needs, prepared so that it need not allocate.
struct Child<'a> {
    line: &'a CommandLine,
    inherited: &'a Inherited,
    stdio: [RawFd; 3],
    /// Written by the child into our memory when it fails.
    error: c_int,
}

impl Child<'_> {
    /// Clones, and returns once the child has executed its program or failed to.
    fn start(&mut self) -> io::Result<(Pid, OwnedFd)> {
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
            let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
        }
        // SAFETY: the kernel has just made this descriptor for us.
        let pidfd = (pidfd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(pidfd) });
        match self.error {
            0 => Ok((pid, or_open(pidfd, pid)?)),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }
}

/// Linux 5.2 ignores `CLONE_PIDFD`'s predecessor bit; the child is ours, so its number is safe.
fn or_open(pidfd: Option<OwnedFd>, pid: Pid) -> io::Result<OwnedFd> {
    match pidfd {
        Some(pidfd) => Ok(pidfd),
        None => Ok(rustix::process::pidfd_open(pid, PidfdFlags::empty())?),
    }
}

/// Everything between clone and execve, in the child, in our memory.
extern "C" fn in_child(child: *mut c_void) -> c_int {
    // SAFETY: `start` passes a `Child` that outlives this call. Each call below is async-signal-safe
    // (signal-safety(7)) or a bare system call; none allocates, locks or unwinds.
    unsafe {
        let child = &mut *child.cast::<Child<'_>>();
        libc::setpgid(0, 0);
        for (target, &fd) in (0..).zip(&child.stdio) {
            if libc::dup2(fd, target) < 0 {
                child.error = *libc::__errno_location();
                libc::_exit(127);
            }
        }
        if let Some(limit) = &child.inherited.open_files {
            let value = |n: Option<u64>| n.unwrap_or(libc::RLIM_INFINITY);
            let limit = libc::rlimit {
                rlim_cur: value(limit.current),
                rlim_max: value(limit.maximum),
            };
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
        libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0);
        for &signal in &child.inherited.signals {
            set_action(signal, libc::SIG_DFL);
        }
        // Last: a signal that was waiting now meets its default, not a handler of ours.
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
        let line = child.line;
        libc::execve(
            line.program.as_ptr(),
            line.argv.pointers.as_ptr(),
            child.inherited.environment.pointers.as_ptr(),
        );
        child.error = *libc::__errno_location();
        libc::_exit(127)
    }
}

/// All signals of this thread blocked until dropped, so that no handler of ours runs in the child.
struct SignalsBlocked(libc::sigset_t);

impl SignalsBlocked {
    fn all() -> Self {
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

/// A pipe (read end, write end) outside 0–2, which the child is about to overwrite.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    Ok((above_stdio(read)?, above_stdio(write)?))
}

fn above_stdio(fd: OwnedFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() > 2 {
        Ok(fd)
    } else {
        Ok(rustix::io::fcntl_dupfd_cloexec(&fd, 3)?)
    }
}

/// C strings and the array of pointers to them that `execve` wants.
struct NullEnded {
    pointers: Vec<*const c_char>,
    _strings: Vec<CString>,
}

impl NullEnded {
    fn new(strings: Vec<CString>) -> Self {
        let pointers = strings
            .iter()
            .map(|s| s.as_ptr())
            .chain([ptr::null()])
            .collect();
        Self {
            pointers,
            _strings: strings,
        }
    }
}

// SAFETY: the pointers lead to heap memory of the strings beside them, which nobody changes.
unsafe impl Send for NullEnded {}
// SAFETY: as above.
unsafe impl Sync for NullEnded {}
