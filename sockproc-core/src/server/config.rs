//! What a server may be told; checked once, read everywhere.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// How a [`Server`](super::Server) treats the commands that it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// After the leader's exit its output is read until 100 ms of silence, at most so long; `None`
    /// waits for end of file, as the C daemon does.
    pub classic_linger: Option<Duration>,
    /// What becomes of a command whose client has gone after a whole request.
    pub classic_on_disconnect: OnDisconnect,
    /// Where output past 1 MiB a stream is kept until the command has ended.
    pub spill_dir: PathBuf,
    /// The most that one run may keep there, in bytes; a run that wants more is killed.
    pub max_spill: u64,
    /// The most that all runs together may keep there, in bytes.
    pub max_spill_total: u64,
    /// From SIGTERM to SIGKILL, when the server ends a command. It lasts until all of the command's
    /// tree has exited.
    pub kill_grace: Duration,
    /// Where each run gets a cgroup of its own.
    pub cgroup: Cgroup,
    /// Whether each command gets a session of its own, and so no controlling terminal. Without that a
    /// command of a server in the foreground of a terminal is stopped when it reads `/dev/tty`.
    pub new_session: bool,
    /// The time that running commands have once the server shuts down; `None` waits for them.
    pub drain_timeout: Option<Duration>,
}

/// Whether each run gets a cgroup of its own, so that nothing that it starts can get away
/// (cgroups(7), version 2). The server's process then moves to a cgroup below that one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Cgroup {
    /// No: a run is ended by process group, session, parent links and pipes.
    #[default]
    None,
    /// Below the cgroup of this process, if that was handed to it: systemd's `Delegate=yes`.
    IfDelegated,
    /// Below this cgroup, given by its directory.
    At(PathBuf),
}

/// What becomes of a command whose client has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OnDisconnect {
    /// It runs to its end: fire and forget.
    #[default]
    Finish,
    /// It is ended with its whole tree: SIGTERM, then SIGKILL.
    Kill,
}

impl Default for Config {
    fn default() -> Self {
        const GIB: u64 = 1 << 30;
        Self {
            classic_linger: None,
            classic_on_disconnect: OnDisconnect::Finish,
            // Not /tmp, which may be memory.
            spill_dir: PathBuf::from("/var/tmp"),
            max_spill: 4 * GIB,
            max_spill_total: 16 * GIB,
            kill_grace: Duration::from_secs(2),
            cgroup: Cgroup::None,
            new_session: false,
            drain_timeout: None,
        }
    }
}

impl Config {
    /// Fails if the spill directory cannot hold a spill file.
    ///
    /// # Errors
    /// The reason, naming the directory.
    pub fn check(&self) -> io::Result<()> {
        tempfile::tempfile_in(&self.spill_dir)
            .map(drop)
            .map_err(|error| {
                let dir = self.spill_dir.display();
                io::Error::new(
                    error.kind(),
                    format!("spill directory {dir} cannot be used: {error}"),
                )
            })
    }
}
