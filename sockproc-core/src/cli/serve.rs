//! `sockproc serve`: the server with named options.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use nix::unistd::{Group, User};
use rustix::process::getpid;
use tracing::level_filters::LevelFilter;

use super::fail;
use super::log::{self, Log};
use super::pidfile::Pidfile;
use super::serving;
use crate::Address;
use crate::server::{Cgroup, Config, Listener, OnDisconnect, SocketOptions};

/// Serve in the foreground until SIGTERM or SIGINT.
#[derive(Args)]
pub(super) struct Arguments {
    /// Where to listen: PATH, unix:PATH, PORT or 127.0.0.1:PORT; can be given several times
    #[arg(long, value_name = "ADDRESS", required = true, value_parser = address)]
    listen: Vec<Address>,
    /// Exact permission bits of unix sockets, octal [default: 0777 less the umask]
    #[arg(long, value_name = "MODE", value_parser = mode)]
    mode: Option<u32>,
    /// Owner of unix sockets: USER, USER:GROUP or :GROUP, names or numbers
    #[arg(long, value_name = "OWNER", value_parser = owner)]
    owner: Option<Owner>,
    /// Write the process id to this file
    #[arg(long, value_name = "FILE")]
    pidfile: Option<PathBuf>,
    /// What to log on stderr: off, error, warn, info, debug [default: $SOCKPROC_LOG, else warn]
    #[arg(long, value_name = "LEVEL")]
    log: Option<LevelFilter>,
    /// After a command's exit read its output until 100 ms of silence, at most so many milliseconds
    /// [default: until end of file]
    #[arg(long, value_name = "MS")]
    classic_linger: Option<u64>,
    /// What becomes of a command whose client has gone: finish or kill
    #[arg(long, value_name = "WHAT", default_value = "finish", value_parser = on_disconnect)]
    classic_on_disconnect: OnDisconnect,
    /// Milliseconds from SIGTERM to SIGKILL, when the server ends a command
    #[arg(long, value_name = "MS", default_value_t = 2000)]
    grace: u64,
    /// Give each run a cgroup of its own below this directory (cgroup version 2)
    /// [default: below ours, if it is delegated to us as by systemd's Delegate=yes]
    #[arg(long, value_name = "DIR")]
    cgroup: Option<PathBuf>,
    /// The memory for the output of all runs, until it is sent; the rest goes to --spill-dir
    #[arg(long, value_name = "BYTES", default_value = "64M", value_parser = size)]
    reply_memory: u64,
    /// Where to keep output past 1 MiB a stream until its command has ended
    #[arg(long, value_name = "DIR", default_value = "/var/tmp")]
    spill_dir: PathBuf,
    /// The most that one run may keep there, in bytes or with K, M, G; past it the run is killed
    #[arg(long, value_name = "BYTES", default_value = "4G", value_parser = size)]
    max_spill: u64,
    /// The most that all runs together may keep there
    #[arg(long, value_name = "BYTES", default_value = "16G", value_parser = size)]
    max_spill_total: u64,
    /// Seconds that running commands have to end once the server is told to stop
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    drain_timeout: u64,
}

/// User and group ids, either of which may be left as it is.
#[derive(Clone, Copy)]
struct Owner {
    user: Option<u32>,
    group: Option<u32>,
}

pub(super) fn main(arguments: Arguments) -> i32 {
    let log = Log::begin(arguments.log.unwrap_or_else(log::level_from_environment));
    let options = SocketOptions {
        mode: arguments.mode,
        user: arguments.owner.and_then(|owner| owner.user),
        group: arguments.owner.and_then(|owner| owner.group),
    };
    let config = Config {
        classic_linger: arguments.classic_linger.map(Duration::from_millis),
        classic_on_disconnect: arguments.classic_on_disconnect,
        new_session: false,
        cgroup: arguments.cgroup.map_or(Cgroup::IfDelegated, Cgroup::At),
        kill_grace: Duration::from_millis(arguments.grace),
        reply_memory: arguments.reply_memory,
        max_spill: arguments.max_spill,
        max_spill_total: arguments.max_spill_total,
        drain_timeout: Some(Duration::from_secs(arguments.drain_timeout)),
        spill_dir: arguments.spill_dir,
    };
    if let Err(error) = config.check() {
        return fail(&error, 1);
    }
    let listen = arguments.listen.iter();
    let bind = || {
        listen
            .map(|address| Listener::bind(address, &options))
            .collect()
    };
    let ready = || arguments.pidfile.as_deref().map(Pidfile::write);
    let served = serving::serve(bind, config, ready);
    log.flush();
    match served {
        Ok(signal) if getpid().is_init() => 128 + signal,
        Ok(_) => 0,
        Err(error) => fail(&error, error.exit_code()),
    }
}

fn address(text: &str) -> Result<Address, crate::AddressError> {
    text.parse()
}

fn mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode @ 0..=0o777) => Ok(mode),
        _ => Err("not an octal number from 0 to 777".to_owned()),
    }
}

fn on_disconnect(text: &str) -> Result<OnDisconnect, &'static str> {
    match text {
        "finish" => Ok(OnDisconnect::Finish),
        "kill" => Ok(OnDisconnect::Kill),
        _ => Err("neither finish nor kill"),
    }
}

fn size(text: &str) -> Result<u64, &'static str> {
    let (digits, unit) = match text.as_bytes() {
        [.., b'K' | b'k'] => (&text[..text.len() - 1], 1 << 10),
        [.., b'M' | b'm'] => (&text[..text.len() - 1], 1 << 20),
        [.., b'G' | b'g'] => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    let number = digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(unit));
    number.ok_or("not a number of bytes, as 4096, 512K, 10M or 2G")
}

fn owner(text: &str) -> Result<Owner, String> {
    let (user, group) = text.split_once(':').unwrap_or((text, ""));
    if user.is_empty() && group.is_empty() {
        return Err("neither a user nor a group".to_owned());
    }
    let id = |name: &str, look_up: &dyn Fn() -> Option<u32>, what| match name {
        "" => Ok(None),
        _ => match name.parse().ok().or_else(look_up) {
            Some(id) => Ok(Some(id)),
            None => Err(format!("there is no {what} {name:?}")),
        },
    };
    Ok(Owner {
        user: id(
            user,
            &|| Some(User::from_name(user).ok()??.uid.as_raw()),
            "user",
        )?,
        group: id(
            group,
            &|| Some(Group::from_name(group).ok()??.gid.as_raw()),
            "group",
        )?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bytes_or_powers_of_1024() {
        assert_eq!(size("0"), Ok(0));
        assert_eq!(size("512K"), Ok(512 << 10));
        assert_eq!(size("10m"), Ok(10 << 20));
        for text in ["", "K", "-1", "1T", "1.5G", "99999999999G"] {
            assert!(size(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_owner_is_a_user_a_group_or_both_by_name_or_number() {
        let ids = |text| owner(text).map(|owner| (owner.user, owner.group));
        assert_eq!(ids("root"), Ok((Some(0), None)));
        assert_eq!(ids(":root"), Ok((None, Some(0))));
        assert_eq!(ids("12:34"), Ok((Some(12), Some(34))));
        assert_eq!(ids("root:"), Ok((Some(0), None)));
        assert!(ids("no-such-user").unwrap_err().contains("no-such-user"));
        assert!(ids(":").is_err() && ids("").is_err());
    }

    #[test]
    fn a_mode_is_octal_and_at_most_777() {
        assert_eq!(mode("660"), Ok(0o660));
        assert_eq!(mode("0600"), Ok(0o600));
        assert!(mode("888").is_err() && mode("1777").is_err() && mode("").is_err());
    }
}
