//! Starting a server and ending it. Nothing is supervised in here: a server is a process of its own.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use mlua::{AnyUserData, Lua, LuaString, UserData, UserDataMethods};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::args::Args;
use crate::error::{Failure, guard};
use crate::stream::{deadline, wait};

/// The effective user's number; 0 is root.
pub(crate) fn user_id(_: &Lua, _: &mut Args) -> Result<u32, Failure> {
    Ok(rustix::process::geteuid().as_raw())
}

/// `exec(words)`: makes this process that program; returns only when it cannot.
pub(crate) fn exec(_: &Lua, args: &mut Args) -> Result<bool, Failure> {
    let mut command = command(&args.strings()?)?;
    Err(cannot_start(&command.exec(), &command))
}

/// `launch(words, user)`: runs a program that leaves a daemon behind, as that user if one is named.
/// Gives the program's exit code, nil if somebody else took it, and what it said on stderr.
pub(crate) fn launch(lua: &Lua, args: &mut Args) -> Result<(Option<i32>, LuaString), Failure> {
    let mut command = command(&args.strings()?)?;
    if let Some(user) = args.optional_string()? {
        let user = OsString::from_vec(user.as_bytes().to_vec());
        // `id` asks whatever the system keeps its users in, as `getpwnam` would. With a new user,
        // std drops the supplementary groups.
        command.uid(id("-u", &user)?).gid(id("-g", &user)?);
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .map_err(|error| cannot_start(&error, &command))?;
    let said = read_to_end(child.stderr.take());
    Ok((exit_code(child), lua.create_string(said)?))
}

fn command(words: &[LuaString]) -> Result<Command, Failure> {
    let (program, rest) = words
        .split_first()
        .ok_or_else(|| Failure::misuse("no program to start"))?;
    let mut command = Command::new(OsStr::from_bytes(&program.as_bytes()));
    for word in rest {
        command.arg(OsStr::from_bytes(&word.as_bytes()));
    }
    Ok(command)
}

fn id(option: &str, user: &OsStr) -> Result<u32, Failure> {
    let mut command = Command::new("id");
    command.args([option, "--"]).arg(user);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command
        .spawn()
        .map_err(|error| cannot_start(&error, &command))?;
    let said = read_to_end(child.stdout.take());
    exit_code(child);
    String::from_utf8_lossy(&said)
        .trim()
        .parse()
        .map_err(|_| Failure::new("connect", format!("no user {user:?}")))
}

fn read_to_end(pipe: Option<impl Read>) -> Vec<u8> {
    let mut said = Vec::new();
    if let Some(mut pipe) = pipe {
        // What has come before an error is still worth telling.
        let _ = pipe.read_to_end(&mut said);
    }
    said
}

/// nginx reaps every child in a signal handler, which may well come first: then nobody knows.
fn exit_code(mut child: Child) -> Option<i32> {
    child.wait().ok()?.code()
}

fn cannot_start(error: &std::io::Error, command: &Command) -> Failure {
    let reason = error.raw_os_error().map_or_else(
        || error.to_string(),
        |errno| Failure::system("connect", Errno::from_raw_os_error(errno)).message,
    );
    Failure::new(
        "connect",
        format!("cannot start {:?}: {reason}", command.get_program()),
    )
}

/// A process that is no child of ours, pinned by a descriptor: its number may be given to another.
struct Process(OwnedFd);

/// `open_process(pid)`
pub(crate) fn open(lua: &Lua, args: &mut Args) -> Result<AnyUserData, Failure> {
    let pid = i32::try_from(args.integer()?)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| Failure::misuse("no process has this number"))?;
    let fd =
        pidfd_open(pid, PidfdFlags::empty()).map_err(|errno| Failure::system("closed", errno))?;
    Ok(lua.create_userdata(Process(fd))?)
}

impl UserData for Process {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_function("terminate", guard("terminate", terminate));
        methods.add_function("wait", guard("wait", wait_for));
    }
}

/// `process:terminate()`: SIGTERM. A process that has ended needs none.
fn terminate(_: &Lua, args: &mut Args) -> Result<bool, Failure> {
    let process = args.object::<Process>()?;
    match pidfd_send_signal(&process.borrow()?.0, Signal::TERM) {
        Ok(()) | Err(Errno::SRCH) => Ok(true),
        Err(errno) => Err(Failure::system("refused", errno)),
    }
}

/// `process:wait(ms)`: until it has ended.
fn wait_for(_: &Lua, args: &mut Args) -> Result<bool, Failure> {
    let process = args.object::<Process>()?;
    let deadline = deadline(args.milliseconds()?);
    match wait(&process.borrow()?.0, PollFlags::IN, deadline) {
        Ok(()) => Ok(true),
        Err(Errno::TIMEDOUT) => Err(Failure::new("timeout", "timeout")),
        Err(Errno::INTR) => Err(Failure::new("interrupted", "interrupted")),
        Err(errno) => Err(Failure::system("closed", errno)),
    }
}
