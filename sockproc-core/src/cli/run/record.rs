//! The line of JSON that `--json` asks for: one flat object, with the names of the native protocol.
//!
//! Written by hand: its names are ours and its values are numbers and a few texts, so that a library
//! would bring more code than it saves.

use std::fmt::{Display, Write};
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;

use super::outcome::{Outcome, RunError};
use crate::cli::Chain;
use crate::proto::{Exit, Stream};
use crate::{Error, ExitStatus};

/// Where the record goes.
#[derive(Debug)]
pub(super) enum Target {
    Stderr,
    File(PathBuf, File),
}

impl Target {
    /// `None` if no record is wanted. A file is empty until the run is over.
    pub(super) fn open(wanted: Option<&Option<PathBuf>>) -> Result<Option<Self>, RunError> {
        match wanted {
            None => Ok(None),
            Some(None) => Ok(Some(Self::Stderr)),
            Some(Some(path)) => match File::create(path) {
                Ok(file) => Ok(Some(Self::File(path.clone(), file))),
                Err(source) => Err(cannot_write(path.clone(), source)),
            },
        }
    }

    /// Writes a record; returns what is for stderr.
    pub(super) fn write(self, record: &str) -> Result<String, RunError> {
        match self {
            Self::Stderr => Ok(record.to_owned()),
            Self::File(path, mut file) => match file.write_all(record.as_bytes()) {
                Ok(()) => Ok(String::new()),
                Err(source) => Err(cannot_write(path, source)),
            },
        }
    }
}

fn cannot_write(path: PathBuf, source: std::io::Error) -> RunError {
    RunError::Record { path, source }
}

/// The record of a run, a line.
pub(super) fn of(result: &Result<Outcome, RunError>) -> String {
    match result {
        Ok(outcome) => of_outcome(outcome),
        Err(error) => of_error(error),
    }
}

fn of_outcome(outcome: &Outcome) -> String {
    let mut object = Object::new();
    object.number("pid", outcome.pid);
    if let Some(exit) = &outcome.exit {
        status(&mut object, exit.status);
        object.text("ended_by", exit.ended_by);
        if outcome.is_counted {
            counts(&mut object, exit);
        }
        // A classic server says nothing of this.
        if outcome.pid.is_some() {
            object.number("survivors", Some(exit.survivors));
            object.text("tree", exit.tree);
            object.number("wall_us", Some(exit.wall_us));
            object.number("user_us", Some(exit.user_us));
            object.number("system_us", Some(exit.system_us));
        }
    }
    object.end()
}

fn of_error(error: &RunError) -> String {
    let mut object = Object::new();
    object.text("error", Some(Chain(error)));
    if let Some(error) = error.of_client() {
        if let Error::Refused {
            kind, step, errno, ..
        } = error
        {
            object.text("refused", Some(kind));
            object.text("step", step.as_ref());
            object.number("errno", *errno);
        }
        object.number("may_have_run", Some(error.may_have_run()));
    }
    object.end()
}

fn status(object: &mut Object, status: ExitStatus) {
    match status {
        ExitStatus::Code(code) => object.number("exit", Some(code)),
        ExitStatus::Signal {
            signal,
            core_dumped,
        } => {
            object.number("signal", Some(signal));
            object.number("core", Some(core_dumped));
        }
        ExitStatus::Unknown(_) => object.number("unknown", Some(true)),
    }
}

fn counts(object: &mut Object, exit: &Exit) {
    let (stdout, stderr) = (exit.moved(Stream::Stdout), exit.moved(Stream::Stderr));
    object.number("stdout_bytes", Some(stdout.bytes));
    object.number("stdout_cut", Some(stdout.cut));
    object.number("stderr_bytes", Some(stderr.bytes));
    object.number("stderr_cut", Some(stderr.cut));
}

/// A JSON object in the making.
struct Object(String);

impl Object {
    fn new() -> Self {
        Self("{".to_owned())
    }

    /// A number, `true` or `false`; nothing if there is no value.
    fn number(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.put(name, &value.to_string());
        }
    }

    fn text(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.put(name, &quoted(&value.to_string()));
        }
    }

    fn put(&mut self, name: &str, value: &str) {
        let comma = if self.0.len() > 1 { "," } else { "" };
        // Writing to a string cannot fail.
        let _ = write!(self.0, "{comma}\"{name}\":{value}");
    }

    fn end(mut self) -> String {
        self.0.push_str("}\n");
        self.0
    }
}

/// A JSON string (RFC 8259): quotes, backslashes and control characters are escaped.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\0'..='\x1f' => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(character));
            }
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{EndedBy, RefusalKind};

    #[test]
    fn an_end_is_told_by_the_names_of_the_protocol() {
        let mut exit = Exit::new(ExitStatus::Signal {
            signal: 15,
            core_dumped: false,
        });
        exit.ended_by = Some(EndedBy::IdleTimeout);
        exit.stdout.bytes = 3;
        exit.wall_us = 1_000;
        let outcome = Outcome {
            pid: Some(7),
            exit: Some(exit),
            cancelled_by: None,
            is_counted: true,
        };
        assert_eq!(
            of_outcome(&outcome),
            "{\"pid\":7,\"signal\":15,\"core\":false,\"ended_by\":\"idle-timeout\",\
             \"stdout_bytes\":3,\"stdout_cut\":0,\"stderr_bytes\":0,\"stderr_cut\":0,\
             \"survivors\":0,\"wall_us\":1000,\"user_us\":0,\"system_us\":0}\n"
        );
    }

    #[test]
    fn what_nothing_is_known_of_is_left_out() {
        let outcome = Outcome {
            pid: None,
            exit: Some(Exit::new(ExitStatus::Code(3))),
            cancelled_by: None,
            is_counted: false,
        };
        assert_eq!(of_outcome(&outcome), "{\"exit\":3}\n");
    }

    #[test]
    fn a_refusal_says_its_kind_and_its_step() {
        let error = Error::Refused {
            kind: RefusalKind::CannotSpawn,
            step: Some("chdir".to_owned()),
            errno: Some(2),
            message: "no \"dir\"\n\\".to_owned(),
        };
        assert_eq!(
            of_error(&error.into()),
            "{\"error\":\"server refused: no \\\"dir\\\"\\u000a\\\\\",\
             \"refused\":\"cannot-spawn\",\"step\":\"chdir\",\"errno\":2,\"may_have_run\":false}\n"
        );
    }
}
