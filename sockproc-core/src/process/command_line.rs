//! What is executed, and with what environment: the strings of execve(2).

use std::ffi::{CString, OsString};
use std::io;
use std::os::unix::ffi::OsStringExt;

use crate::proto::Invocation;

const SHELL: &str = "/bin/sh";

/// A program and its argument vector.
pub(crate) struct CommandLine {
    pub(super) program: CString,
    pub(super) argv: Vec<CString>,
}

impl CommandLine {
    /// What executes `invocation`.
    pub(crate) fn new(invocation: &Invocation) -> io::Result<Self> {
        let argv = match invocation {
            Invocation::Line(line) => return Self::shell(line),
            Invocation::Argv(argv) => argv.words().iter().map(|word| CString::new(&word[..])),
        };
        let argv = argv.collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            program: argv[0].clone(),
            argv,
        })
    }

    /// `/bin/sh -c command`, with no `--`: a command that begins with `-` is an option to the shell.
    pub(crate) fn shell(command: &[u8]) -> io::Result<Self> {
        let words = [SHELL.as_bytes(), b"-c", command].map(CString::new);
        let argv = words.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            program: argv[0].clone(),
            argv,
        })
    }
}

/// `NAME=value` strings of variables; those that no process can be given are left out.
pub(super) fn environment(variables: impl Iterator<Item = (OsString, OsString)>) -> Vec<CString> {
    let entries = variables.map(|(name, value)| {
        let mut entry = name.into_vec();
        entry.push(b'=');
        entry.append(&mut value.into_vec());
        CString::new(entry)
    });
    entries.flatten().collect()
}
