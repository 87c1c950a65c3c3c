//! What every test needs: a server of its own, raw connections, and patience with a limit.

mod address;
mod connection;
mod daemon;
mod frozen;
mod hung_mount;
mod procfs;
mod reply;
mod server;

use std::path::PathBuf;
use std::time::{Duration, Instant};

pub(crate) use address::{Address, Transport};
pub(crate) use connection::{Connection, MAX_FDS};
pub(crate) use daemon::{Daemon, Doomed, finish, is_alive, send_signal};
pub(crate) use frozen::FrozenDisk;
pub(crate) use hung_mount::HungMount;
pub(crate) use procfs::{
    blocked_signals, cpu_time, descendants, fd_count, marked, memory_kib, session_of, sockets,
    state_of, unix_sockets,
};
pub(crate) use reply::Reply;
pub(crate) use server::{Setup, TestServer, request};

/// How long anything that must happen may take on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// How long to watch for something that must not happen.
pub(crate) const A_WHILE: Duration = Duration::from_millis(300);

/// The binary under test: ours, or any other classic daemon.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("SOCKPROC_TEST_BINARY").map_or_else(
        || PathBuf::from(env!("CARGO_BIN_EXE_sockproc")),
        PathBuf::from,
    )
}

/// Waits until `condition` holds, and fails the test where it does not come to hold.
#[track_caller]
pub(crate) fn poll_until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "this never came to hold");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until `value` has returned the same for `looks` looks, and returns that.
#[track_caller]
pub(crate) fn settled<T: PartialEq>(looks: usize, mut value: impl FnMut() -> T) -> T {
    let (mut last, mut same) = (value(), 0);
    poll_until(|| {
        let now = value();
        same = if now == last { same + 1 } else { 0 };
        last = now;
        same == looks
    });
    last
}

/// Makes each function a test on a unix socket and one on TCP.
macro_rules! on_both_transports {
    ($($fact:ident),* $(,)?) => {
        mod unix { $(#[test] fn $fact() { super::$fact($crate::support::Transport::Unix) })* }
        mod tcp { $(#[test] fn $fact() { super::$fact($crate::support::Transport::Tcp) })* }
    };
}
pub(crate) use on_both_transports;
