//! `sockproc <unix-socket-path>|<tcp-port> [pidfile] [--foreground]`, as the C daemon reads it.

use std::ffi::OsString;
use std::path::PathBuf;

use super::log::{self, Log};
use super::pidfile::Pidfile;
use super::{Failed, daemon, server_process};
use crate::server::{Config, Listener, SocketOptions};
use crate::{Address, AddressError, AddressKind};

const FOREGROUND: &str = "--foreground";

/// What was typed, understood.
struct Arguments {
    address: Address,
    pidfile: Option<PathBuf>,
    start: Start,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    Foreground,
    /// The launcher of a daemon.
    Daemon,
    /// The daemon, started by its launcher.
    Daemonized,
}

pub(super) fn main(program: &[OsString], args: &[OsString]) -> Result<i32, Failed> {
    let arguments = match parse(args) {
        Ok(arguments) => arguments,
        Err(error) => return Err(Failed::new(&error, error.errno())),
    };
    match arguments.start {
        Start::Daemon => launch(program, &arguments),
        start => serve(&arguments, start),
    }
}

fn parse(args: &[OsString]) -> Result<Arguments, AddressError> {
    let has = |flag: &str| args[1..].iter().any(|arg| arg == flag);
    let start = match (has(daemon::FLAG), has(FOREGROUND)) {
        (true, _) => Start::Daemonized,
        (_, true) => Start::Foreground,
        _ => Start::Daemon,
    };
    // The second argument, or the third if the second is the flag.
    let is_flag = |arg: &OsString| arg == FOREGROUND || arg == daemon::FLAG;
    let pidfile = match &args[1..] {
        [flag, pidfile, ..] if is_flag(flag) => Some(pidfile),
        [pidfile, ..] if !is_flag(pidfile) => Some(pidfile),
        _ => None,
    };
    Ok(Arguments {
        address: Address::parse_classic(&args[0])?,
        pidfile: pidfile.map(PathBuf::from),
        start,
    })
}

/// Starts the daemon and reports how that went; paths mean what they mean here.
fn launch(program: &[OsString], arguments: &Arguments) -> Result<i32, Failed> {
    let address = match arguments.address.clone().absolute() {
        Ok(address) => address,
        Err(error) => return Err(Failed::new(&error, error.errno())),
    };
    let mut args = vec![match address.kind() {
        AddressKind::Unix(path) => path.as_os_str().to_owned(),
        AddressKind::Tcp(tcp) => tcp.port().to_string().into(),
    }];
    if let Some(pidfile) = &arguments.pidfile {
        args.push(
            std::path::absolute(pidfile)
                .unwrap_or_else(|_| pidfile.clone())
                .into(),
        );
    }
    daemon::launch(program, &args).map(|_| 0)
}

fn serve(arguments: &Arguments, start: Start) -> Result<i32, Failed> {
    if start == Start::Daemonized {
        daemon::detach();
    }
    let log = Log::begin(log::level_from_environment());
    let bind = || {
        Listener::bind(&arguments.address, &SocketOptions::default()).map(|listener| vec![listener])
    };
    let ready = || {
        let pidfile = arguments.pidfile.as_deref().map(Pidfile::write);
        if start == Start::Daemonized {
            log.flush();
            daemon::tell_ready();
        }
        pidfile
    };
    let served = server_process::serve(bind, Config::default(), ready);
    log.flush();
    match served {
        Ok(signal) => Ok(server_process::die_by(signal)),
        Err(error) => Err(Failed::new(&error, error.exit_code())),
    }
}
