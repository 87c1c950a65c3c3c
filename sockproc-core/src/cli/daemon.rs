//! Starting ourselves again in the background, and telling the launcher how it went.
//!
//! A daemon is a new process of the same program, not a fork: nothing that the launcher holds (its
//! output above all, which a shell may be capturing) can leak into it. It tells that it is ready on
//! its standard output, a pipe to the launcher; before that it is told errors the same way.

use std::env;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags, open};
use rustix::process::setsid;
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use super::Failed;

/// The last argument of a daemon that was started by [`launch`].
pub(super) const FLAG: &str = "--daemonized";

/// No message of ours ends like this.
const READY: &[u8] = b"\0ready\n";

/// Starts `program` with `args` in the background; returns its process id when it serves, or what it
/// told when it has failed.
pub(super) fn launch(program: &[OsString], args: &[OsString]) -> Result<u32, Failed> {
    crate::process::close_inherited_fds();
    let [program, first_args @ ..] = program else {
        return Err(Failed::new("no program to start", 1));
    };
    let child = Command::new(program)
        .args(first_args)
        .args(args)
        .arg(FLAG)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            let error = format_args!("cannot start {program:?}: {error}");
            return Err(Failed::new(error, 1));
        }
    };
    let mut told = Vec::new();
    let read = child
        .stdout
        .take()
        .map(|mut stdout| stdout.read_to_end(&mut told));
    let warnings = told.strip_suffix(READY);
    if let Some(warnings) = warnings {
        let _ = io::stderr().write_all(warnings);
        return Ok(child.id());
    }
    Err(match (read, child.wait().map(|status| status.code())) {
        (Some(Ok(_)), Ok(Some(code))) => {
            let told = String::from_utf8_lossy(&told).into_owned();
            Failed { told, code }
        }
        (read, status) => Failed::new(
            format_args!("the daemon did not start: {read:?}, {status:?}"),
            1,
        ),
    })
}

/// In the daemon, first of all: a session of its own, a directory that is never unmounted, and
/// errors to the launcher.
pub(super) fn detach() {
    // Fails only for a group leader, which a fresh child is not.
    let _ = setsid();
    let _ = env::set_current_dir("/");
    let _ = dup2_stderr(io::stdout());
}

/// Tells the launcher that the server is reachable, and lets go of its pipe.
pub(super) fn tell_ready() {
    let mut stdout = io::stdout();
    // A launcher that was killed meanwhile does not matter.
    let _ = stdout.write_all(READY).and_then(|()| stdout.flush());
    if let Ok(null) = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        let _ = dup2_stdin(&null);
        let _ = dup2_stdout(&null);
        let _ = dup2_stderr(&null);
    }
}
