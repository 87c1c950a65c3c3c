//! How a run ended → what is told of it, and what to exit with.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use rustix::io::Errno;
use signal_hook::consts::SIGTERM;

use super::options::Arguments;
use crate::proto::{EndedBy, Exit, RefusalKind, Stream};
use crate::{Error, ExitStatus};

/// What env(1) and docker-run(1) exit with when they themselves, not the command, have failed.
pub(crate) const OWN_FAILURE: i32 = 125;

/// What timeout(1) exits with when it has ended the command.
const TIMED_OUT: i32 = 124;

/// What shells exit with when there is such a program, but it cannot be executed.
const NOT_EXECUTABLE: i32 = 126;

/// What shells exit with when there is no such program.
const NOT_FOUND: i32 = 127;

/// To this a signal's number is added.
const BY_SIGNAL: i32 = 128;

/// The step of a start at which the program itself is executed.
const EXEC: &str = "exec";

/// The step at which its directory is entered.
const CHDIR: &str = "chdir";

/// What executes a line.
const SHELL: &str = "/bin/sh";

/// What has become of a run.
#[derive(Debug)]
pub(super) struct Outcome {
    /// The leader, if the server has told it.
    pub(super) pid: Option<u32>,
    /// `None` if it goes on without us.
    pub(super) exit: Option<Exit>,
    /// The signal for which we have cancelled it.
    pub(super) cancelled_by: Option<i32>,
    /// Whether the output has passed the server, which has counted it then.
    pub(super) is_counted: bool,
}

/// Why there is no outcome.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunError {
    #[error(transparent)]
    Run(#[from] Error),
    #[error("cannot execute {program:?}")]
    Program { program: OsString, source: Error },
    #[error("cannot enter {directory:?}")]
    Directory { directory: OsString, source: Error },
    #[error("cannot read {path:?}")]
    Stdin { path: OsString, source: io::Error },
    #[error("cannot write {}", name(*stream))]
    Write { stream: Stream, source: io::Error },
    #[error("cannot write {path:?}")]
    Record { path: PathBuf, source: io::Error },
    #[error("cannot use the terminal")]
    Terminal(#[source] io::Error),
    #[error("a terminal for the command needs one as our stdin, which is no terminal")]
    NoTerminal,
    #[error("a command that is to finish alone cannot read a stdin that passes through here")]
    DetachedStdin,
    #[error("a command that is to finish alone needs a server that outlives this process")]
    DetachedServer,
    #[error("cannot serve in this process")]
    Serve(#[source] io::Error),
    #[error("cannot wait")]
    Wait(#[source] io::Error),
    /// A signal came while there was no command to pass it on to.
    #[error("ended by signal {0}")]
    Signal(i32),
}

impl Outcome {
    pub(super) fn exit_code(&self) -> i32 {
        match &self.exit {
            Some(Exit {
                ended_by: Some(EndedBy::Cancel),
                ..
            }) => BY_SIGNAL + self.cancelled_by.unwrap_or(SIGTERM),
            Some(exit) => exit_code(exit),
            None => 0,
        }
    }

    /// What the exit code does not tell, as a whole line.
    pub(super) fn message(&self) -> Option<String> {
        let exit = self.exit.as_ref()?;
        let why = match exit.ended_by {
            Some(EndedBy::Timeout) => "at its timeout",
            Some(EndedBy::IdleTimeout) => "at its idle timeout",
            Some(EndedBy::OutputLimit) => "past its output limit",
            Some(EndedBy::Shutdown) => "because the server shuts down",
            Some(EndedBy::Cancel) => return None,
            Some(EndedBy::Other) => "for a reason that this version does not know",
            None => match exit.status {
                ExitStatus::Unknown(_) => {
                    return Some("sockproc: the command's end is unknown\n".to_owned());
                }
                _ => return None,
            },
        };
        Some(format!("sockproc: the command was ended {why}\n"))
    }
}

impl RunError {
    /// The same with the name of what the kernel refused.
    pub(super) fn named(self, arguments: &Arguments) -> Self {
        match self {
            Self::Run(source) if is_at(&source, EXEC) => {
                let program = match &arguments.command[..] {
                    [program, _, ..] => program.clone(),
                    _ => SHELL.into(),
                };
                Self::Program { program, source }
            }
            Self::Run(source) if is_at(&source, CHDIR) => {
                let directory = arguments.chdir.clone().unwrap_or_default();
                Self::Directory { directory, source }
            }
            error => error,
        }
    }

    /// What the client's end of the connection says.
    pub(super) fn of_client(&self) -> Option<&Error> {
        match self {
            Self::Run(error)
            | Self::Program { source: error, .. }
            | Self::Directory { source: error, .. } => Some(error),
            _ => None,
        }
    }

    pub(super) fn exit_code(&self) -> i32 {
        match self {
            Self::Run(Error::Timeout { .. } | Error::IdleTimeout { .. }) => TIMED_OUT,
            Self::Program { source, .. } => match source {
                Error::Refused { errno, .. } if *errno == Some(Errno::NOENT.raw_os_error()) => {
                    NOT_FOUND
                }
                _ => NOT_EXECUTABLE,
            },
            Self::Signal(signal) => BY_SIGNAL + signal,
            _ => OWN_FAILURE,
        }
    }
}

fn is_at(error: &Error, at: &str) -> bool {
    match error {
        Error::Refused { kind, step, .. } => {
            *kind == RefusalKind::CannotSpawn && step.as_deref() == Some(at)
        }
        _ => false,
    }
}

fn name(stream: Stream) -> &'static str {
    match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    }
}

/// A command that was ended has not done its work, whatever it says itself.
fn exit_code(exit: &Exit) -> i32 {
    match (exit.ended_by, exit.status) {
        (Some(EndedBy::Timeout | EndedBy::IdleTimeout), _) => TIMED_OUT,
        (Some(_), _) | (None, ExitStatus::Unknown(_)) => OWN_FAILURE,
        (None, ExitStatus::Code(code)) => code.into(),
        (None, ExitStatus::Signal { signal, .. }) => BY_SIGNAL + i32::from(signal),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::run::options::Typed;

    fn ended(ended_by: Option<EndedBy>, status: ExitStatus) -> i32 {
        let mut exit = Exit::new(status);
        exit.ended_by = ended_by;
        let outcome = Outcome {
            pid: None,
            exit: Some(exit),
            cancelled_by: Some(2),
            is_counted: false,
        };
        outcome.exit_code()
    }

    fn refused(kind: RefusalKind, step: &str, errno: Errno) -> i32 {
        let error = Error::Refused {
            kind,
            step: Some(step.to_owned()),
            errno: Some(errno.raw_os_error()),
            message: String::new(),
        };
        let typed = Typed::parse_from(["run", "--", "prog", "arg"]);
        RunError::Run(error).named(&typed.arguments).exit_code()
    }

    #[test]
    fn the_commands_own_end_is_ours() {
        assert_eq!(ended(None, ExitStatus::Code(0)), 0);
        assert_eq!(ended(None, ExitStatus::Code(255)), 255);
        let killed = ExitStatus::Signal {
            signal: 9,
            core_dumped: false,
        };
        assert_eq!(ended(None, killed), 137);
        assert_eq!(ended(None, ExitStatus::Unknown(None)), 125);
    }

    #[test]
    fn a_command_that_was_ended_is_never_a_success() {
        let ends = [
            (EndedBy::Timeout, 124),
            (EndedBy::IdleTimeout, 124),
            (EndedBy::OutputLimit, 125),
            (EndedBy::Cancel, 130),
            (EndedBy::Shutdown, 125),
            (EndedBy::Other, 125),
        ];
        for (end, code) in ends {
            assert_eq!(ended(Some(end), ExitStatus::Code(0)), code, "{end:?}");
        }
    }

    #[test]
    fn a_program_that_is_not_there_and_one_that_cannot_be_executed_are_told_apart() {
        assert_eq!(refused(RefusalKind::CannotSpawn, "exec", Errno::NOENT), 127);
        assert_eq!(
            refused(RefusalKind::CannotSpawn, "exec", Errno::ACCESS),
            126
        );
        assert_eq!(
            refused(RefusalKind::CannotSpawn, "exec", Errno::NOEXEC),
            126
        );
        assert_eq!(
            refused(RefusalKind::CannotSpawn, "chdir", Errno::NOENT),
            125
        );
        assert_eq!(refused(RefusalKind::Busy, "exec", Errno::NOENT), 125);
    }
}
