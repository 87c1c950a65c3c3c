//! Who serves at an address: a stranger may listen where a server of ours is expected.

use std::ffi::OsString;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use mlua::Lua;
use nix::unistd::User;
use rustix::net::sockopt::socket_peercred;
use sockproc_core::blocking::Client;
use sockproc_core::connection::{BlockingSocket, Deadline};
use sockproc_core::{Address, AddressKind, Error};

use crate::args::Args;
use crate::error::Failure;

/// How long to wait for a connection: a full backlog is emptied sooner by whoever is alive.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait for a first answer. A server that is busy with long commands gives none.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// `user_id()`: the effective user's number; 0 is root.
pub(crate) fn user_id(_: &Lua, _: &mut Args) -> Result<u32, Failure> {
    Ok(rustix::process::geteuid().as_raw())
}

/// `find_user(text)`: the number of a user that is named, or is a number already.
pub(crate) fn find_user(_: &Lua, args: &mut Args) -> Result<u32, Failure> {
    let text = args.string()?.to_string_lossy();
    let found = match text.parse::<u32>() {
        Ok(uid) => User::from_uid(uid.into()),
        Err(_) => User::from_name(&text),
    };
    match found {
        Ok(Some(user)) => Ok(user.uid.as_raw()),
        Ok(None) => Err(Failure::new(
            "connect",
            format!("there is no user {text:?}"),
        )),
        Err(errno) => Err(Failure::new(
            "connect",
            format!("{text:?}: {}", errno.desc()),
        )),
    }
}

/// `listener(text)`: the number of the user who listens at an address. On a unix socket that is who
/// called listen(2) (unix(7), `SO_PEERCRED`), on TCP whose socket /proc/net/tcp lists (proc_pid_net(5)).
pub(crate) fn listener(_: &Lua, args: &mut Args) -> Result<u32, Failure> {
    let address = address(args)?;
    let deadline = Deadline::after(Some(CONNECT_TIMEOUT));
    let socket = BlockingSocket::connect(address.clone(), deadline, deadline)
        .map_err(|error| Failure::connect(&error))?;
    match address.kind() {
        AddressKind::Unix(_) => {
            let peer =
                socket_peercred(&socket).map_err(|errno| Failure::system("closed", errno))?;
            Ok(peer.uid.as_raw())
        }
        AddressKind::Tcp(tcp) => {
            let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
            listener_in(&table, tcp).ok_or_else(|| {
                Failure::new("refused", "the kernel does not say whose socket it is")
            })
        }
    }
}

/// `answers(text)`: whether a server of ours answers there; nil and a reason if something else does. A
/// server that says nothing for a while is busy, and counts as ours.
pub(crate) fn answers(_: &Lua, args: &mut Args) -> Result<bool, Failure> {
    let client = Client::new(address(args)?).timeout(ANSWER_TIMEOUT);
    match client.run(":", "") {
        // One that refuses, because it wants a token perhaps, is a server of ours, too.
        Ok(_) | Err(Error::Timeout { .. } | Error::Refused { .. }) => Ok(true),
        Err(error) => Err(Failure::new("refused", error.to_string())),
    }
}

fn address(args: &mut Args) -> Result<Address, Failure> {
    let text = OsString::from_vec(args.string()?.as_bytes().to_vec());
    Address::parse(&text).map_err(|error| Failure::misuse(error.to_string()))
}

/// The owner of the socket that listens at exactly `address`, in the text of /proc/net/tcp.
fn listener_in(table: &str, address: SocketAddr) -> Option<u32> {
    const LISTEN: &str = "0A";
    let IpAddr::V4(ip) = address.ip() else {
        return None;
    };
    let ip = u32::from_ne_bytes(ip.octets());
    let local = format!("{ip:08X}:{:04X}", address.port());
    table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let is_it = fields.get(1) == Some(&local.as_str()) && fields.get(3) == Some(&LISTEN);
        is_it.then(|| fields.get(7)?.parse().ok())?
    })
}
