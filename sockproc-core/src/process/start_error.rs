//! At which step a start failed, and why.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, RawFd};

use rustix::io::Errno;

/// A command that was not started.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {source}")]
pub(crate) struct StartError {
    pub(crate) step: StartStep,
    pub(crate) source: io::Error,
}

/// The steps of a start, each named after its system call if it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum StartStep {
    /// The request holds something that no system call takes.
    Prepare,
    Pipe,
    Clone,
    Cgroup,
    Setpgid,
    Setsid,
    Open,
    Dup,
    Terminal,
    Setgroups,
    Setgid,
    Setuid,
    Chdir,
    Exec,
}

/// What a child tells its parent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fault {
    step: StartStep,
    errno: i32,
}

impl StartError {
    pub(super) fn new(step: StartStep, source: io::Error) -> Self {
        Self { step, source }
    }

    /// Makes an error of an errno of `step`.
    pub(super) fn from_errno(step: StartStep) -> impl Fn(Errno) -> Self {
        move |errno| Self::new(step, errno.into())
    }

    /// Makes an error of an error of `step`.
    pub(super) fn at(step: StartStep) -> impl Fn(io::Error) -> Self {
        move |source| Self::new(step, source)
    }

    pub(crate) fn errno(&self) -> Option<i32> {
        self.source.raw_os_error()
    }

    /// Whether there was no descriptor for it, which may pass.
    pub(crate) fn is_short_of_descriptors(&self) -> bool {
        let errno = Errno::from_io_error(&self.source);
        matches!(errno, Some(Errno::MFILE | Errno::NFILE))
    }
}

impl fmt::Display for StartStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl StartStep {
    const ALL: [Self; 14] = [
        Self::Prepare,
        Self::Pipe,
        Self::Clone,
        Self::Cgroup,
        Self::Setpgid,
        Self::Setsid,
        Self::Open,
        Self::Dup,
        Self::Terminal,
        Self::Setgroups,
        Self::Setgid,
        Self::Setuid,
        Self::Chdir,
        Self::Exec,
    ];

    /// As clients are told.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Pipe => "pipe",
            Self::Clone => "clone",
            Self::Cgroup => "cgroup",
            Self::Setpgid => "setpgid",
            Self::Setsid => "setsid",
            Self::Open => "open",
            Self::Dup => "dup",
            Self::Terminal => "terminal",
            Self::Setgroups => "setgroups",
            Self::Setgid => "setgid",
            Self::Setuid => "setuid",
            Self::Chdir => "chdir",
            Self::Exec => "exec",
        }
    }
}

impl Fault {
    pub(super) fn new(step: StartStep, errno: i32) -> Self {
        Self { step, errno }
    }

    /// Writes this to a pipe; async-signal-safe.
    pub(super) fn write(self, pipe: RawFd) {
        let [a, b, c, d] = self.errno.to_ne_bytes();
        super::sys::write_raw(pipe, &[self.step as u8, a, b, c, d]);
    }

    /// Reads one from a pipe; `None` if it ends before: the child has executed its program.
    pub(super) fn read(pipe: impl AsFd) -> Option<Self> {
        let mut bytes = [0; 5];
        let len = rustix::io::retry_on_intr(|| rustix::io::read(&pipe, &mut bytes)).unwrap_or(0);
        let [step, errno @ ..] = bytes;
        (len == bytes.len()).then(|| Self {
            step: Self::step(step),
            errno: i32::from_ne_bytes(errno),
        })
    }

    fn step(number: u8) -> StartStep {
        let mut steps = StartStep::ALL.into_iter();
        steps
            .find(|step| *step as u8 == number)
            .unwrap_or(StartStep::Prepare)
    }
}

impl From<Fault> for StartError {
    fn from(fault: Fault) -> Self {
        Self::new(fault.step, io::Error::from_raw_os_error(fault.errno))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_comes_through_a_pipe_as_it_was() {
        use std::os::fd::AsRawFd;
        for step in StartStep::ALL {
            let (read, write) = rustix::pipe::pipe().unwrap();
            Fault::new(step, 2).write(write.as_raw_fd());
            let error = StartError::from(Fault::read(&read).unwrap());
            assert_eq!((error.step, error.errno()), (step, Some(2)));
            drop(write);
            assert!(Fault::read(&read).is_none());
        }
    }
}
