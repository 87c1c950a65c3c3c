//! How a helper comes to be: no child of ours, and at the same cost whatever our size is.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{PidfdFlags, getpid, pidfd_open};

use super::ARGUMENT;
use super::control::{Control, ENVIRONMENT};
use super::identity::Identity;
use super::inherited::Inherited;

/// Starts `words` as the helper; the first of them is a path.
///
/// A shell does it, and exits at once. So the helper is an orphan, and no `wait` of this process finds it.
/// The standard library starts the shell by posix_spawn(3), which copies no memory.
pub(super) fn start(
    words: &[OsString],
    inherited: &Inherited,
    identity: &Identity,
) -> io::Result<Control> {
    let (control, its) = Control::new()?;
    // A shell would drop variables whose names it cannot use, so they go another way.
    let mut environment = File::from(memfd_create(ENVIRONMENT, MemfdFlags::CLOEXEC)?);
    environment.write_all(&inherited.environment())?;
    let ourselves = ourselves();
    let mut descriptors = vec![environment.as_fd()];
    descriptors.extend(ourselves.iter().map(AsFd::as_fd));
    control.introduce(&descriptors)?;
    let mut shell = Command::new(SHELL);
    if !identity.is_plain() {
        shell.arg("-p");
    }
    shell
        .args(
            ["-c", SCRIPT, "sh"]
                .map(OsStr::new)
                .into_iter()
                .chain(words.iter().map(OsStr::new)),
        )
        .arg(ARGUMENT)
        .stdin(Stdio::null())
        .stdout(its)
        .stderr(Stdio::null());
    let mut started = shell.spawn().map_err(|error| {
        let told = format!("cannot start it by {SHELL}: {error}");
        io::Error::new(error.kind(), told)
    })?;
    // Ours is closed: only the helper has its end of the control socket.
    drop(shell);
    // A host that waits for any child may be faster. Then there is no status, and nothing to do.
    let _ = started.wait();
    Ok(control)
}

/// What tells of our death, whoever else still holds the control socket then.
fn ourselves() -> Option<OwnedFd> {
    pidfd_open(getpid(), PidfdFlags::empty()).ok()
}

const SHELL: &str = "/bin/sh";

/// From its first moment on the helper ignores what may come to the process group of its owner. The helper
/// itself ignores the rest.
const SCRIPT: &str = "trap '' HUP INT QUIT PIPE ALRM TERM USR1 USR2 TSTP TTIN TTOU; \"$@\" &";
