//! `sockproc serve`: the server with named options.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use rustix::process::getpid;
use tracing::level_filters::LevelFilter;

use super::log::{self, Log};
use super::pidfile::Pidfile;
use super::signals::HeldSignals;
use super::users::{Account, Owner};
use super::{Chain, Failed, daemon, server_process};
use crate::proto::OnDisconnect;
use crate::server::{Cgroup, Config, Listener, SocketOptions};
use crate::{Address, AddressError, Token};

/// Serve until SIGTERM or SIGINT.
#[derive(Args)]
pub(super) struct Arguments {
    /// Where to listen: PATH, unix:PATH, PORT or 127.0.0.1:PORT; can be given several times
    #[arg(long, value_name = "ADDRESS", required = true, value_parser = address)]
    listen: Vec<Address>,
    /// Exact permission bits of unix sockets, octal [default: 0777 less the umask]
    #[arg(long, value_name = "MODE", value_parser = mode)]
    mode: Option<u32>,
    /// Owner of unix sockets: USER, USER:GROUP or :GROUP, names or numbers
    #[arg(long, value_name = "OWNER", value_parser = Owner::parse)]
    owner: Option<Owner>,
    /// Serve as this user, a name or number: with the user's groups, HOME and an environment of its own
    #[arg(long, value_name = "USER", value_parser = Account::find)]
    user: Option<Account>,
    /// Run only what comes with the token in this file, which others must not be able to read; classic
    /// requests are refused then
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Serve in the background: print its process id when it can be reached, and return
    #[arg(long)]
    daemon: bool,
    /// The process that `--daemon` started.
    #[arg(long, hide = true)]
    daemonized: bool,
    /// Write the process id to this file
    #[arg(long, value_name = "FILE")]
    pidfile: Option<PathBuf>,
    /// What to log on stderr: off, error, warn, info, debug [default: $SOCKPROC_LOG, else warn]
    #[arg(long, value_name = "LEVEL")]
    log: Option<LevelFilter>,
    /// After a command's exit read its output until 100 ms of silence, at most this many milliseconds
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
    /// How many requests may wait for room at once; more are refused as busy
    #[arg(long, value_name = "COUNT", default_value_t = 4096)]
    max_queue: usize,
    /// Seconds that running commands have to end once the server is told to stop
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    drain_timeout: u64,
}

/// `words` are what the arguments were read from.
pub(super) fn main(
    program: &[OsString],
    words: &[OsString],
    arguments: Arguments,
) -> Result<i32, Failed> {
    if let Some(user) = &arguments.user {
        return Err(Failed::new(user.start(program, words), 1));
    }
    if arguments.daemon && !arguments.daemonized {
        let pid = daemon::launch(program, words)?;
        // A reader that has gone changes nothing.
        let _ = writeln!(io::stdout(), "{pid}");
        return Ok(0);
    }
    serve(arguments)
}

fn serve(mut arguments: Arguments) -> Result<i32, Failed> {
    if arguments.daemonized {
        arguments
            .make_absolute()
            .map_err(|error| Failed::new(&error, error.errno()))?;
        daemon::detach();
    }
    let log = Log::begin(arguments.log.unwrap_or_else(log::level_from_environment));
    let token = arguments.token_file.as_ref().map(Token::read).transpose();
    let token = token.map_err(|error| Failed::new(Chain(&error), 1))?;
    let config = Config {
        token,
        ..arguments.config()
    };
    let checked = {
        // Its thread, which a disk may hold up, hears no signal that somebody else waits for.
        let _held = HeldSignals::hold();
        config.check()
    };
    checked.map_err(|error| Failed::new(error, 1))?;
    let options = arguments.socket_options();
    let listen = arguments.listen.iter();
    let bind = || {
        listen
            .map(|address| Listener::bind(address, &options))
            .collect()
    };
    let ready = || {
        let pidfile = arguments.pidfile.as_deref().map(Pidfile::write);
        if arguments.daemonized {
            log.flush();
            daemon::tell_ready();
        }
        pidfile
    };
    let served = server_process::serve(bind, config, ready);
    log.flush();
    match served {
        Ok(signal) if getpid().is_init() => Ok(128 + signal),
        Ok(_) => Ok(0),
        Err(error) => Err(Failed::new(&error, error.exit_code())),
    }
}

impl Arguments {
    /// A daemon leaves the directory in which its arguments were typed.
    fn make_absolute(&mut self) -> Result<(), AddressError> {
        for address in &mut self.listen {
            *address = address.clone().absolute()?;
        }
        let named = self.pidfile.iter_mut().chain(&mut self.cgroup);
        let named = named.chain(&mut self.token_file);
        for path in named.chain([&mut self.spill_dir]) {
            *path = std::path::absolute(&*path).map_err(|_| AddressError::Empty)?;
        }
        Ok(())
    }

    fn socket_options(&self) -> SocketOptions {
        SocketOptions {
            mode: self.mode,
            user: self.owner.and_then(|owner| owner.user),
            group: self.owner.and_then(|owner| owner.group),
        }
    }

    fn config(&self) -> Config {
        let cgroup = self.cgroup.clone();
        Config {
            token: None,
            max_queue: self.max_queue,
            classic_linger: self.classic_linger.map(Duration::from_millis),
            classic_on_disconnect: self.classic_on_disconnect,
            new_session: false,
            environment: None,
            cgroup: cgroup.map_or(Cgroup::IfDelegated, Cgroup::At),
            kill_grace: Duration::from_millis(self.grace),
            reply_memory: self.reply_memory,
            max_spill: self.max_spill,
            max_spill_total: self.max_spill_total,
            drain_timeout: Some(Duration::from_secs(self.drain_timeout)),
            spill_dir: self.spill_dir.clone(),
        }
    }
}

fn address(text: &str) -> Result<Address, AddressError> {
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

pub(super) fn size(text: &str) -> Result<u64, &'static str> {
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
    fn a_mode_is_octal_and_at_most_777() {
        assert_eq!(mode("660"), Ok(0o660));
        assert_eq!(mode("0600"), Ok(0o600));
        assert!(mode("888").is_err() && mode("1777").is_err() && mode("").is_err());
    }
}
