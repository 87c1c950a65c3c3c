//! Plan → running leader.
//!
//! The child is made by `clone(CLONE_VM | CLONE_VFORK | CLONE_PIDFD)`: as cheap as `posix_spawn` for
//! a caller of any size, and the pidfd comes with it. Until `execve` it runs in our memory while the
//! calling thread stands still, so it makes raw async-signal-safe calls only (signal-safety(7)). It is
//! clone and not clone3, which seccomp filters of containers refuse. A child that is to run as another
//! user gets a copy of our memory instead, and tells by a pipe what has failed.
#![allow(unsafe_code)]

mod child;

use std::cell::RefCell;
use std::ffi::{CString, c_char, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, Rlimit, Signal, getpid, kill_process_group, pidfd_open};

use super::newborn::Newborn;
use super::slots::Lent;
use super::start_error::{Fault, StartError, StartStep};
use super::sys::SignalsBlocked;

/// What the child needs before `execve`; it touches nothing else.
pub(super) const CHILD_STACK_LEN: usize = 64 * 1024;

/// Everything that a child needs, prepared so that it need not allocate.
pub(super) struct Plan<'a> {
    /// What to execute: the first that can be.
    pub(super) programs: &'a [CString],
    pub(super) argv: Vec<*const c_char>,
    pub(super) environment: Vec<*const c_char>,
    /// What becomes which of its descriptors.
    pub(super) fds: &'a [(Source, c_int)],
    /// Further descriptors that it keeps, sorted.
    pub(super) kept: &'a [c_int],
    pub(super) place: Place,
    pub(super) cwd: Option<&'a CString>,
    pub(super) umask: Option<u32>,
    /// The user and groups that it runs as, if not those of this process.
    pub(super) identity: Option<&'a Identity>,
    /// The `cgroup.procs` of the cgroup that it enters.
    pub(super) cgroup: Option<RawFd>,
    /// The limit on open files to set, if it is to differ from ours.
    pub(super) open_files: Option<&'a Rlimit>,
    /// Where these descriptors stand, if a child that shares our memory need not copy all of ours.
    pub(super) slots: Option<&'a Lent<'a>>,
    /// Written by the child into our memory: why it has no table of its own.
    pub(super) unshare_errno: c_int,
    /// Signals to put back to their default.
    pub(super) signals: &'a [c_int],
    /// Signals to ignore.
    pub(super) ignored: &'a [c_int],
    /// The number of this process.
    pub(super) parent: c_int,
    /// Where the child writes its number, if it shares our memory.
    pub(super) newborn: &'a Newborn,
    /// Where a child writes why it fails that does not share our memory.
    pub(super) faults: Option<RawFd>,
    /// Written by the child into our memory when it fails.
    pub(super) fault: Option<Fault>,
}

/// Where a descriptor of the child comes from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source {
    /// `/dev/null`, opened by the child.
    Null,
    /// One of ours.
    Ours(RawFd),
    /// Another one of the child's, which is in place already.
    Child(c_int),
    /// It is closed.
    Closed,
}

/// The process group, the session and the terminal of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Place {
    /// It leads a process group.
    #[default]
    OwnGroup,
    /// It joins this process group.
    Group(i32),
    /// It leads a session, without a controlling terminal.
    Session,
    /// It leads a session whose controlling terminal is its stdin.
    Terminal,
}

/// The user and groups that a command runs as.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Identity {
    pub(super) user: Option<libc::uid_t>,
    pub(super) group: Option<libc::gid_t>,
    pub(super) supplementary: Option<Vec<libc::gid_t>>,
}

impl Plan<'_> {
    /// Clones, and returns once the child has executed its program or failed to.
    pub(super) fn execute(&mut self) -> Result<(Pid, OwnedFd), StartError> {
        self.parent = getpid().as_raw_nonzero().get();
        if self.identity.is_some() {
            return self.execute_apart();
        }
        let executed = self.execute_beside();
        match (self.slots, self.unshare_errno) {
            (None, _) | (_, 0) => executed,
            (Some(slots), errno) => {
                if errno != libc::ENOMEM {
                    slots.are_useless();
                }
                (self.slots, self.fault) = (None, None);
                self.execute_beside()
            }
        }
    }

    /// As [`execute`](Self::execute), by a child that shares our memory.
    fn execute_beside(&mut self) -> Result<(Pid, OwnedFd), StartError> {
        let mut pidfd: c_int = -1;
        let mut flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD;
        if self.slots.is_some() {
            flags |= libc::CLONE_FILES;
        }
        // A clone that fails late, at pids.max, has written a number that is no descriptor any more.
        let pid = self.clone_child(flags, &raw mut pidfd)?;
        // SAFETY: the kernel has just made this descriptor for us.
        let pidfd = (pidfd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(pidfd) });
        if let Some(fault) = self.fault {
            self.newborn.reap(pid);
            return Err(fault.into());
        }
        let pidfd = self.or_open(pidfd, pid)?;
        Ok((pid, pidfd))
    }

    /// As [`execute`](Self::execute), for a child that must not share our memory.
    fn execute_apart(&mut self) -> Result<(Pid, OwnedFd), StartError> {
        let pipe = pipe_with(PipeFlags::CLOEXEC);
        let (faults, theirs) = pipe.map_err(StartError::from_errno(StartStep::Pipe))?;
        self.faults = Some(theirs.as_raw_fd());
        // The kernel writes the number before the child can run.
        let newborn = self.newborn.as_ptr();
        let pid = self.clone_child(libc::CLONE_PARENT_SETTID, newborn)?;
        drop(theirs);
        if let Some(fault) = Fault::read(&faults) {
            self.newborn.reap(pid);
            return Err(fault.into());
        }
        Ok((pid, self.or_open(None, pid)?))
    }

    /// `out` is where the kernel writes a number, as `flags` say.
    fn clone_child(&mut self, flags: c_int, out: *mut c_int) -> Result<Pid, StartError> {
        thread_local! {
            static STACK: RefCell<Vec<u8>> = RefCell::new(vec![0; CHILD_STACK_LEN]);
        }
        let begun = self.newborn.begin();
        begun.map_err(StartError::at(StartStep::Clone))?;
        let blocked = SignalsBlocked::all();
        let pid = STACK.with_borrow_mut(|stack| {
            let top = stack.as_mut_ptr_range().end;
            let flags = flags | libc::SIGCHLD;
            let plan = ptr::from_mut(self).cast();
            // SAFETY: the stack is this thread's own. A child that shares our memory leaves it before
            // this thread goes on (CLONE_VFORK); the other one has a copy. The stack's top is aligned
            // by the wrapper; `self` and `out` outlive the child's use of them for the same reason;
            // `in_child` makes async-signal-safe calls only.
            unsafe { libc::clone(in_child, top.cast(), flags, plan, out) }
        });
        let error = io::Error::last_os_error();
        drop(blocked);
        let pid = (pid > 0).then(|| Pid::from_raw(pid)).flatten();
        pid.ok_or_else(|| StartError::new(StartStep::Clone, error))
    }

    /// Before Linux 5.2 `CLONE_PIDFD` is ignored. A child that cannot be watched is ended again.
    fn or_open(&self, pidfd: Option<OwnedFd>, pid: Pid) -> Result<OwnedFd, StartError> {
        if let Some(pidfd) = pidfd {
            return Ok(pidfd);
        }
        pidfd_open(pid, PidfdFlags::empty()).map_err(|errno| {
            let _ = kill_process_group(pid, Signal::KILL);
            let _ = rustix::process::kill_process(pid, Signal::KILL);
            self.newborn.reap(pid);
            StartError::from_errno(StartStep::Clone)(errno)
        })
    }
}

/// Everything between clone and execve, in the child.
extern "C" fn in_child(plan: *mut c_void) -> c_int {
    // SAFETY: `clone_child` passes a `Plan` that outlives this call, in our memory or in a copy of it.
    let plan = unsafe { &mut *plan.cast::<Plan<'_>>() };
    if plan.faults.is_none() {
        // SAFETY: getpid(2) only returns a number.
        plan.newborn.set_pid(unsafe { libc::getpid() });
    }
    let fault = child::prepare_and_execute(plan);
    if let Some(faults) = plan.faults {
        fault.write(faults);
    } else {
        plan.fault = Some(fault);
    }
    // SAFETY: _exit(2) is async-signal-safe, and does not return.
    unsafe { libc::_exit(127) }
}

/// The array of pointers that `execve` wants.
pub(super) fn null_ended(strings: &[CString]) -> Vec<*const c_char> {
    strings
        .iter()
        .map(|string| string.as_ptr())
        .chain([ptr::null()])
        .collect()
}
