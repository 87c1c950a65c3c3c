//! Starts commands: their pipes, and what they inherit from the server.

use std::ffi::{CString, c_int};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Rlimit};

use super::cgroup::{Delegation, RunCgroup};
use super::command_line::environment;
use super::end::Ender;
use super::process_table::ChildEnd;
use super::spawn::{self, Plan};
use super::{CommandLine, Leaders};

/// Signals 1–64 on Linux; the real-time ones are among them.
const LAST_SIGNAL: c_int = 64;

/// Starts commands with what they inherit from this process, read once.
#[derive(Clone)]
pub(crate) struct Spawner {
    inherited: Arc<Inherited>,
    /// Where each run gets a cgroup of its own, if anywhere.
    delegation: Option<Delegation>,
    ender: Ender,
}

struct Inherited {
    environment: Vec<CString>,
    /// The limit on open files that commands get back when the server has raised its own.
    open_files: Option<Rlimit>,
    /// Signals that must be put back to their default: ignored or handled here.
    signals: Vec<c_int>,
}

/// A child that has executed its program.
pub(crate) struct Started {
    pub(crate) pid: Pid,
    pub(crate) pidfd: OwnedFd,
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
    pub(super) cgroup: Option<RunCgroup>,
}

impl Started {
    /// The command's ends of its pipes.
    pub(super) fn child_ends(&self) -> io::Result<Vec<ChildEnd>> {
        let end = |ours: &OwnedFd, is_for_writing| {
            let inode = rustix::fs::fstat(ours)?.st_ino;
            Ok::<_, io::Error>(ChildEnd {
                inode,
                is_for_writing,
            })
        };
        Ok(vec![
            end(&self.stdin, false)?,
            end(&self.stdout, true)?,
            end(&self.stderr, true)?,
        ])
    }
}

impl Spawner {
    /// Reads environment and signal dispositions of this process; call it after the signal handlers
    /// are installed. `open_files` is the limit that commands are to see, if not ours; runs that are
    /// dropped have `grace` to end.
    ///
    /// # Errors
    /// The kernel has no thread.
    pub(crate) fn new(open_files: Option<Rlimit>, grace: Duration) -> io::Result<Self> {
        let inherited = Inherited {
            environment: environment(std::env::vars_os()),
            open_files,
            signals: (1..=LAST_SIGNAL)
                .filter(|&signal| !spawn::is_default(signal))
                .collect(),
        };
        Ok(Self {
            inherited: Arc::new(inherited),
            delegation: None,
            ender: Ender::start(grace)?,
        })
    }

    /// Gives each run a cgroup of its own.
    pub(crate) fn with_cgroups(mut self, delegation: Option<Delegation>) -> Self {
        self.delegation = delegation;
        self
    }

    /// Waits for orphans that have exited, and removes what they leave behind. Returns whether this
    /// process has any child left.
    pub(crate) fn reap_orphans(&self) -> bool {
        let is_left = self.leaders().reap_orphans();
        if let Some(delegation) = &self.delegation {
            delegation.sweep();
        }
        is_left
    }

    pub(crate) fn leaders(&self) -> &Leaders {
        self.ender.leaders()
    }

    pub(super) fn ender(&self) -> &Ender {
        &self.ender
    }

    /// Starts `line`; blocks until it has been executed.
    pub(crate) fn spawn(&self, line: &CommandLine) -> io::Result<Started> {
        let (child_stdin, stdin) = pipe()?;
        let (stdout, child_stdout) = pipe()?;
        let (stderr, child_stderr) = pipe()?;
        // Nothing may fail between the child's birth and its watch.
        for ours in [&stdin, &stdout, &stderr] {
            rustix::io::ioctl_fionbio(ours, true)?;
        }
        let entered = self.delegation.as_ref().map(Delegation::add).transpose()?;
        let (cgroup, procs) = entered.unzip();
        let stdio = [&child_stdin, &child_stdout, &child_stderr].map(AsRawFd::as_raw_fd);
        let (pid, pidfd) = self.leaders().add_leader(|newborn| {
            let mut plan = Plan::new(line, &self.inherited.environment, stdio, newborn);
            plan.cgroup = procs.as_ref().map(AsRawFd::as_raw_fd);
            plan.open_files = self.inherited.open_files.as_ref();
            plan.signals = &self.inherited.signals;
            plan.execute()
        })?;
        Ok(Started {
            cgroup,
            pid,
            pidfd,
            stdin,
            stdout,
            stderr,
        })
    }
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
