//! What the kernel lets this process have.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[cfg(feature = "cli")]
use super::{RUN_FDS, SPARE_FDS, SPAWN_FDS};

/// Raises the soft limit on open files to the hard one; returns the limits as they are now, and as they
/// were if they differ.
pub(crate) fn raise_open_files() -> (u64, Option<Rlimit>) {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: before.maximum,
        maximum: before.maximum,
    };
    let limit = |rlimit: &Rlimit| rlimit.current.unwrap_or(u64::MAX);
    if before.current == before.maximum || setrlimit(Resource::Nofile, raised).is_err() {
        return (limit(&before), None);
    }
    (limit(&getrlimit(Resource::Nofile)), Some(before))
}

/// Fails where not even tokio could start; it would panic.
#[cfg(feature = "cli")]
pub(crate) fn check_open_files() -> io::Result<()> {
    /// Two epoll instances, an event, and the signals' socket pair with a copy.
    const RUNTIME_FDS: usize = 7;
    let limit = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let needed = open_fds()? + RUNTIME_FDS + SPARE_FDS + SPAWN_FDS + RUN_FDS as usize + 1;
    match usize::try_from(limit) {
        Ok(limit) if limit < needed => Err(too_low(limit, needed)),
        _ => Ok(()),
    }
}

pub(super) fn too_low(limit: usize, needed: usize) -> io::Error {
    io::Error::other(format!(
        "the limit of {limit} open files is too low: {needed} are needed (ulimit -n)"
    ))
}

/// How many descriptors this process has open.
pub(super) fn open_fds() -> io::Result<usize> {
    // The directory itself is one of its entries.
    Ok(std::fs::read_dir("/proc/self/fd")?
        .count()
        .saturating_sub(1))
}
