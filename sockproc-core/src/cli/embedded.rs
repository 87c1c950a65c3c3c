//! The private helper of [`embedded`](crate::embedded): a server without an address.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::setsid;

use super::server_process;
use super::{Failed, USAGE_EXIT_CODE};
use crate::process::{close_all_but, ignore_signals};
use crate::proto::OnDisconnect;
use crate::server::{Config, Owner};

/// Serves the process that started us, whose control socket is our stdout.
pub(super) fn main() -> Result<i32, Failed> {
    let met = take_control().and_then(|control| {
        close_all_but(&control);
        Owner::meet(control)
    });
    let (owner, environment) = met.map_err(|error| {
        let told = format!("only a client starts this, with a control socket: {error}");
        Failed::new(told, USAGE_EXIT_CODE)
    })?;
    // Nothing that a terminal or a process group is sent is meant for us. Our commands are in this session,
    // without a terminal, where one can join the group of another (setpgid(2)). Fails only for a group's
    // leader, which a shell's background command is not.
    let _ = setsid();
    // What our commands do to their parent, too.
    ignore_signals();
    let config = Config {
        classic_on_disconnect: OnDisconnect::Kill,
        environment: Some(environment),
        ..Config::default()
    };
    match server_process::serve_owner(owner, config) {
        Ok(()) => Ok(0),
        Err(error) => Err(Failed::new(&error, error.raw_os_error().unwrap_or(1))),
    }
}

/// The control socket, which commands must not find as a stdout.
fn take_control() -> io::Result<OwnedFd> {
    let control = fcntl_dupfd_cloexec(io::stdout().as_fd(), 3)?;
    let null = std::fs::File::options().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&null)?;
    Ok(control)
}
