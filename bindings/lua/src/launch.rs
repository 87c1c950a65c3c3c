//! Starting a server. Nothing is supervised in here: a server is a process of its own.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder};
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{self, Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use mlua::{Lua, LuaString};
use rustix::io::Errno;

use crate::args::Args;
use crate::error::Failure;

/// The effective user's number; 0 is root.
pub(crate) fn user_id(_: &Lua, _: &mut Args) -> Result<u32, Failure> {
    Ok(rustix::process::geteuid().as_raw())
}

/// `exec(words)`: makes this process that program; returns only when it cannot.
pub(crate) fn exec(_: &Lua, args: &mut Args) -> Result<bool, Failure> {
    let words = args.strings()?;
    let (program, rest) = words
        .split_first()
        .ok_or_else(|| Failure::misuse("no program to start"))?;
    let mut command = Command::new(os(program));
    command.args(rest.iter().map(os));
    Err(cannot_start(&command.exec(), &command))
}

/// `launch(program, address, user)`: has the program serve in the background, as that user if one
/// is named, and gives its pid.
pub(crate) fn launch(_: &Lua, args: &mut Args) -> Result<u32, Failure> {
    let mut command = Command::new(os(&args.string()?));
    let address = os(&args.string()?);
    let user = args.optional_string()?.map(|name| User::find(&os(&name)));
    let user = user.transpose()?;
    let directory = PrivateDirectory::new(user.as_ref())
        .map_err(|error| Failure::new("connect", format!("no place for a pidfile: {error}")))?;
    let pidfile = directory.0.join("pid");
    command.arg(address).arg(&pidfile);
    if let Some(User { uid, gid }) = user {
        // std drops the supplementary groups with this.
        command.uid(uid).gid(gid);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null());
    // The program itself leaves nothing open and a daemon of its own session behind.
    let mut child = command
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| cannot_start(&error, &command))?;
    let said = read_to_end(child.stderr.take());
    wait(child);
    fs::read_to_string(&pidfile)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| Failure::new("connect", String::from_utf8_lossy(&said).trim()))
}

/// Whom a server runs as.
struct User {
    uid: u32,
    gid: u32,
}

impl User {
    /// Asks `id`, which looks wherever the system keeps its users, as `getpwnam` would.
    fn find(name: &OsStr) -> Result<Self, Failure> {
        let ask = |option| {
            let mut command = Command::new("id");
            command.args([option, "--"]).arg(name);
            command.stdin(Stdio::null()).stderr(Stdio::null());
            let mut child = command
                .stdout(Stdio::piped())
                .spawn()
                .map_err(|error| cannot_start(&error, &command))?;
            let said = read_to_end(child.stdout.take());
            wait(child);
            String::from_utf8_lossy(&said)
                .trim()
                .parse()
                .map_err(|_| Failure::new("connect", format!("no user {name:?}")))
        };
        Ok(Self {
            uid: ask("-u")?,
            gid: ask("-g")?,
        })
    }
}

/// A directory that nobody else may enter; it goes when this is dropped, with all that is in it.
struct PrivateDirectory(PathBuf);

impl PrivateDirectory {
    fn new(owner: Option<&User>) -> io::Result<Self> {
        let mut number = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |now| now.as_nanos());
        loop {
            let name = format!("sockproc-{}-{number}", process::id());
            let path = env::temp_dir().join(name);
            match DirBuilder::new().mode(0o700).create(&path) {
                // Whoever made it: another name will do.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(error),
                Ok(()) => {
                    let directory = Self(path);
                    if let Some(User { uid, gid }) = owner {
                        chown(&directory.0, Some(*uid), Some(*gid))?;
                    }
                    return Ok(directory);
                }
            }
        }
    }
}

impl Drop for PrivateDirectory {
    fn drop(&mut self) {
        // An empty directory left in /tmp is no reason to fail.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn read_to_end(pipe: Option<impl Read>) -> Vec<u8> {
    let mut said = Vec::new();
    if let Some(mut pipe) = pipe {
        // What came before an error is still worth telling.
        let _ = pipe.read_to_end(&mut said);
    }
    said
}

/// nginx reaps every child in a signal handler, which may well come first: then there is no status.
fn wait(mut child: Child) {
    let _ = child.wait();
}

fn cannot_start(error: &io::Error, command: &Command) -> Failure {
    let reason = error.raw_os_error().map_or_else(
        || error.to_string(),
        |errno| Failure::system("connect", Errno::from_raw_os_error(errno)).message,
    );
    let program = command.get_program();
    Failure::new("connect", format!("cannot start {program:?}: {reason}"))
}

fn os(text: &LuaString) -> OsString {
    OsString::from_vec(text.as_bytes().to_vec())
}
