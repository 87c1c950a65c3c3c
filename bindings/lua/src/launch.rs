//! Starting a server. Nothing is supervised in here: a server is a process of its own.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use mlua::{BString, Lua};
use rustix::io::Errno;

use crate::args::Args;
use crate::error::Failure;

/// `exec(words)`: makes this process that program; returns only when it cannot.
pub(crate) fn exec(_: &Lua, args: &mut Args) -> Result<bool, Failure> {
    let mut command = command(args)?;
    Err(cannot_start(&command.exec(), &command))
}

/// `launch(words)`: runs a program to its end and gives what it printed; what it complained of is the
/// error, where it has one.
pub(crate) fn launch(_: &Lua, args: &mut Args) -> Result<String, Failure> {
    let mut command = command(args)?;
    // The program itself leaves nothing open and a daemon of its own session behind.
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| cannot_start(&error, &command))?;
    let printed = read_to_end(child.stdout.take());
    let complained = read_to_end(child.stderr.take());
    // nginx reaps every child in a signal handler, which may well come first: then there is no status.
    let _ = child.wait();
    if printed.is_empty() {
        return Err(Failure::new("connect", complained.trim()));
    }
    Ok(printed.trim().to_owned())
}

/// `environment()`: a sequence of NAME=VALUE.
pub(crate) fn environment(_: &Lua, _: &mut Args) -> Result<Vec<BString>, Failure> {
    let variables = std::env::vars_os();
    Ok(variables
        .map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat().into())
        .collect())
}

/// `start(words, environment)`: starts a program and waits for nothing. Its errors go to our stderr,
/// and the host reaps it: nginx does.
pub(crate) fn start(_: &Lua, args: &mut Args) -> Result<bool, Failure> {
    let mut command = command(args)?;
    let variables = args.words()?;
    let variables = variables.iter().filter_map(|variable| {
        let equals = variable.iter().position(|&byte| byte == b'=')?;
        let (name, value) = (&variable[..equals], &variable[equals + 1..]);
        Some((OsStr::from_bytes(name), OsStr::from_bytes(value)))
    });
    command.env_clear().envs(variables);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    match command.spawn() {
        Ok(_) => Ok(true),
        Err(error) => Err(cannot_start(&error, &command)),
    }
}

fn command(args: &mut Args) -> Result<Command, Failure> {
    let words = args.words()?;
    let (program, rest) = words
        .split_first()
        .ok_or_else(|| Failure::misuse("no program to start"))?;
    let mut command = Command::new(OsStr::from_bytes(program));
    command.args(rest.iter().map(|word| OsStr::from_bytes(word)));
    Ok(command)
}

fn read_to_end(pipe: Option<impl Read>) -> String {
    let mut said = Vec::new();
    if let Some(mut pipe) = pipe {
        // What came before an error is still worth telling.
        let _ = pipe.read_to_end(&mut said);
    }
    String::from_utf8_lossy(&said).into_owned()
}

fn cannot_start(error: &io::Error, command: &Command) -> Failure {
    let reason = error.raw_os_error().map_or_else(
        || error.to_string(),
        |errno| Failure::system("connect", Errno::from_raw_os_error(errno)).message,
    );
    let program = command.get_program();
    Failure::new("connect", format!("cannot start {program:?}: {reason}"))
}
