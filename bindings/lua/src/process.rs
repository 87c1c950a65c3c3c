//! Ending a server, which is no child of ours.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;

use mlua::{AnyUserData, Lua, UserData, UserDataMethods};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use sockproc_core::connection::{Deadline, Interest, wait};

use crate::args::Args;
use crate::error::{Failure, guard};

/// A process, pinned by a descriptor: its number may be given to another once it has ended.
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
    let deadline = Deadline::after(args.milliseconds()?);
    match wait(&process.borrow()?.0, Interest::READABLE, deadline) {
        Ok(Interest::NONE) => Err(Failure::new("timeout", "timeout")),
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::Interrupted => {
            Err(Failure::new("interrupted", "interrupted"))
        }
        Err(error) => Err(Failure::io("closed", &error)),
    }
}
