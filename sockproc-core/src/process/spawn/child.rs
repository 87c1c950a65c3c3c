//! What a child does between clone and execve, in our memory or in a copy of it.
//!
//! Each call here is async-signal-safe (signal-safety(7)) or a bare system call; nothing allocates, locks
//! or unwinds. Users and groups are changed by bare system calls, too: those of glibc would change all
//! threads of a process that shares our memory.

use std::os::fd::RawFd;
use std::ptr;

use libc::{c_int, c_long};

use super::{Identity, Place, Plan, Source};
use crate::process::start_error::{Fault, StartStep};
use crate::process::sys::set_action;

/// Returns only if something fails.
pub(super) fn prepare_and_execute(plan: &mut Plan<'_>) -> Fault {
    match prepare(plan) {
        Ok(()) => execute(plan),
        Err(fault) => fault,
    }
}

fn prepare(plan: &mut Plan<'_>) -> Result<(), Fault> {
    die_with_parent(plan)?;
    take_place(plan.place)?;
    if let Some(cgroup) = plan.cgroup {
        // What it leads to is in the cgroup, too.
        // SAFETY: the descriptor is open, and one byte is there.
        let written = unsafe { libc::write(cgroup, c"0".as_ptr().cast(), 1) };
        check(StartStep::Cgroup, written as c_long)?;
    }
    // Until here our descriptors are the child's, too: it must not open, close or move any.
    take_own_table(plan)?;
    set_descriptors(plan)?;
    if plan.place == Place::Terminal {
        // SAFETY: the call takes a number, and changes nothing of ours.
        let taken = unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) };
        check(StartStep::Terminal, taken.into())?;
    }
    set_open_files(plan);
    if let Some(identity) = plan.identity {
        change_identity(identity)?;
        // The kernel forgets it when the user changes.
        die_with_parent(plan)?;
    }
    if let Some(mask) = plan.umask {
        // SAFETY: umask(2) cannot fail.
        unsafe { libc::umask(mask) };
    }
    if let Some(cwd) = plan.cwd {
        // SAFETY: the string ends with a NUL.
        check(
            StartStep::Chdir,
            unsafe { libc::chdir(cwd.as_ptr()) }.into(),
        )?;
    }
    Ok(())
}

/// A command must not take the death of its server for the end of its input.
fn die_with_parent(plan: &Plan<'_>) -> Result<(), Fault> {
    // SAFETY: both calls take and return numbers.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        match libc::getppid() == plan.parent {
            true => Ok(()),
            false => Err(Fault::new(StartStep::Clone, libc::ESRCH)),
        }
    }
}

fn take_place(place: Place) -> Result<(), Fault> {
    // SAFETY: these calls take and return numbers.
    match place {
        Place::OwnGroup => check(StartStep::Setpgid, unsafe { libc::setpgid(0, 0) }.into()),
        Place::Group(group) => check(
            StartStep::Setpgid,
            unsafe { libc::setpgid(0, group) }.into(),
        ),
        Place::Session | Place::Terminal => {
            check(StartStep::Setsid, unsafe { libc::setsid() }.into())
        }
    }
}

/// Where the table of open files is shared, takes a copy of its beginning.
fn take_own_table(plan: &mut Plan<'_>) -> Result<(), Fault> {
    let Some(slots) = plan.slots else {
        return Ok(());
    };
    let first = slots.end().cast_unsigned();
    // SAFETY: nothing is closed in the shared table; the call takes numbers.
    let unshared = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_UNSHARE,
        )
    };
    check(StartStep::Clone, unshared).inspect_err(|_| plan.unshare_errno = last_errno())
}

/// Puts descriptors in their places, and closes all others.
fn set_descriptors(plan: &mut Plan<'_>) -> Result<(), Fault> {
    let above = 1 + plan.kept.last().copied().unwrap_or(2).max(2);
    let move_away = |fd: RawFd| -> Result<RawFd, Fault> {
        // SAFETY: fcntl on a number that may be no descriptor only fails.
        let moved = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, above) };
        check(StartStep::Dup, moved.into()).map(|()| moved)
    };
    if let Some(faults) = &mut plan.faults
        && *faults < above
    {
        *faults = move_away(*faults)?;
    }
    // What stands where another one goes has to be out of the way before.
    if plan.fds.iter().any(|(source, _)| is_below(*source, above)) {
        return set_moved(plan, above, &move_away);
    }
    for &(source, target) in plan.fds {
        set_descriptor(source, target)?;
    }
    close_others(plan);
    Ok(())
}

/// As [`set_descriptors`], where some of ours have numbers that the child is to have.
fn set_moved(
    plan: &Plan<'_>,
    above: c_int,
    move_away: &impl Fn(RawFd) -> Result<RawFd, Fault>,
) -> Result<(), Fault> {
    let mut moved = [-1; MAX_FDS];
    for (place, &(source, _)) in moved.iter_mut().zip(plan.fds) {
        if let Source::Ours(fd) = source {
            *place = if fd < above { move_away(fd)? } else { fd };
        }
    }
    for (&fd, &(source, target)) in moved.iter().zip(plan.fds) {
        let source = match source {
            Source::Ours(_) => Source::Ours(fd),
            other => other,
        };
        set_descriptor(source, target)?;
    }
    close_others(plan);
    Ok(())
}

/// The most that a command can be given: three standard streams and what is passed beyond.
pub(crate) const MAX_FDS: usize = 3 + 16;

fn is_below(source: Source, above: c_int) -> bool {
    matches!(source, Source::Ours(fd) if fd < above)
}

fn set_descriptor(source: Source, target: c_int) -> Result<(), Fault> {
    // SAFETY: these calls take numbers, and a string that ends with a NUL.
    unsafe {
        let fd = match source {
            Source::Ours(fd) | Source::Child(fd) => fd,
            Source::Null => {
                let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC);
                check(StartStep::Open, null.into())?;
                null
            }
            Source::Closed => {
                libc::close(target);
                return Ok(());
            }
        };
        if fd == target {
            // /dev/null took the lowest number, and that is its place.
            check(StartStep::Dup, libc::fcntl(fd, libc::F_SETFD, 0).into())
        } else {
            check(StartStep::Dup, libc::dup2(fd, target).into())
        }
    }
}

/// Closes all descriptors from 3 on but those that are kept, and the one for faults.
fn close_others(plan: &Plan<'_>) {
    let close = |first: c_int, last: libc::c_uint| {
        let first = first.cast_unsigned();
        if first <= last {
            // SAFETY: the child's descriptors are its own.
            unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        }
    };
    let mut first = 3;
    for kept in plan.kept.iter().copied().chain(plan.faults) {
        close(first, (kept - 1).cast_unsigned());
        first = kept + 1;
    }
    close(first, libc::c_uint::MAX);
}

fn set_open_files(plan: &Plan<'_>) {
    if let Some(limit) = plan.open_files {
        let value = |n: Option<u64>| n.unwrap_or(libc::RLIM_INFINITY);
        let limit = libc::rlimit {
            rlim_cur: value(limit.current),
            rlim_max: value(limit.maximum),
        };
        // SAFETY: the limits are there for reading.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    }
}

/// Groups first: the user may not change them.
fn change_identity(identity: &Identity) -> Result<(), Fault> {
    /// "Stays as it is", for setresuid(2) and setresgid(2).
    const SAME: libc::uid_t = libc::uid_t::MAX;
    // SAFETY: the list is as long as is said; otherwise these calls take numbers.
    unsafe {
        if let Some(groups) = &identity.supplementary {
            let set = libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr());
            check(StartStep::Setgroups, set)?;
        }
        if let Some(group) = identity.group {
            let set = libc::syscall(libc::SYS_setresgid, group, group, group);
            check(StartStep::Setgid, set)?;
        }
        let user = identity.user.unwrap_or(SAME);
        let set = libc::syscall(libc::SYS_setresuid, user, user, user);
        check(StartStep::Setuid, set)
    }
}

/// Executes the first program that can be; as execvp(3), the error of one that is there counts more than
/// that another is not.
fn execute(plan: &Plan<'_>) -> Fault {
    for &signal in plan.signals {
        set_action(signal, libc::SIG_DFL);
    }
    for &signal in plan.ignored {
        set_action(signal, libc::SIG_IGN);
    }
    // Last: a signal that was waiting now meets its default, not a handler of ours.
    // SAFETY: an all-zero sigset_t is a value of it, and it is there for writing.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
    }
    let (mut missing, mut refused) = (libc::ENOENT, None);
    for program in plan.programs {
        // SAFETY: all strings end with a NUL, and both arrays with a null pointer.
        unsafe {
            libc::execve(
                program.as_ptr(),
                plan.argv.as_ptr(),
                plan.environment.as_ptr(),
            );
        }
        match last_errno() {
            errno @ (libc::ENOENT | libc::ENOTDIR) => missing = errno,
            errno @ (libc::EACCES | libc::ENODEV | libc::ETIMEDOUT) => refused = Some(errno),
            errno => return Fault::new(StartStep::Exec, errno),
        }
    }
    Fault::new(StartStep::Exec, refused.unwrap_or(missing))
}

/// Whether the call that returned `result` has succeeded.
fn check(step: StartStep, result: c_long) -> Result<(), Fault> {
    if result < 0 {
        Err(Fault::new(step, last_errno()))
    } else {
        Ok(())
    }
}

fn last_errno() -> c_int {
    // SAFETY: the place of errno is this thread's.
    unsafe { *libc::__errno_location() }
}
