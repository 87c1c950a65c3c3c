//! What a server may be told; checked once, read everywhere.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tracing::warn;

use crate::Token;
use crate::proto::OnDisconnect;

/// How a [`Server`](super::Server) treats the commands that it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// What every request must show. Only the native protocol can: classic requests are refused then.
    pub token: Option<Token>,
    /// How many whole requests may wait for room at once; more are refused as busy.
    pub max_queue: usize,
    /// After the leader's exit its output is read until 100 ms of silence, at most so long; `None`
    /// waits for end of file, as the C daemon does.
    pub classic_linger: Option<Duration>,
    /// What becomes of a command whose client has gone after a whole request.
    pub classic_on_disconnect: OnDisconnect,
    /// The memory that the output of all runs together may take until it is sent, in bytes; what
    /// does not fit goes to the spill directory. A run takes up to 1 MiB a stream, and a page more that
    /// is not counted.
    pub reply_memory: u64,
    /// Where other output is kept until the command has ended.
    pub spill_dir: PathBuf,
    /// The most that one run may keep there, in bytes; a run that wants more is killed.
    pub max_spill: u64,
    /// The most that all runs together may keep there, in bytes. A run that wants more waits for
    /// others to give back, and clients that read nothing for 10 s give way; it is killed when it has
    /// waited for that long in vain.
    pub max_spill_total: u64,
    /// From SIGTERM to SIGKILL, when the server ends a command. It lasts until all of the command's
    /// tree has exited.
    pub kill_grace: Duration,
    /// Where each run gets a cgroup of its own.
    pub cgroup: Cgroup,
    /// Whether each command gets a session of its own, and so no controlling terminal. Without that a
    /// command of a server in the foreground of a terminal is stopped when it reads `/dev/tty`.
    pub new_session: bool,
    /// What commands find in their environment; `None`: that of this process.
    pub environment: Option<Vec<(OsString, OsString)>>,
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

impl Default for Config {
    fn default() -> Self {
        const GIB: u64 = 1 << 30;
        Self {
            token: None,
            max_queue: 4096,
            classic_linger: None,
            classic_on_disconnect: OnDisconnect::Finish,
            reply_memory: 64 << 20,
            // Not /tmp, which may be memory.
            spill_dir: PathBuf::from("/var/tmp"),
            max_spill: 4 * GIB,
            max_spill_total: 16 * GIB,
            kill_grace: Duration::from_secs(2),
            cgroup: Cgroup::None,
            new_session: false,
            environment: None,
            drain_timeout: None,
        }
    }
}

impl Config {
    /// Fails if the spill directory cannot hold a spill file. A disk that does not answer within two
    /// seconds passes: only runs that spill will wait for it.
    ///
    /// # Errors
    /// The reason, naming the directory.
    pub fn check(&self) -> io::Result<()> {
        const TIMEOUT: Duration = Duration::from_secs(2);
        let dir = self.spill_dir.clone();
        let (tell, told) = mpsc::channel();
        let try_it = move || {
            let _ = tell.send(tempfile::tempfile_in(dir).map(drop));
        };
        let checked = match thread::Builder::new().spawn(try_it) {
            Ok(_) => told.recv_timeout(TIMEOUT),
            Err(error) => Ok(Err(error)),
        };
        let dir = self.spill_dir.display();
        match checked {
            Ok(result) => result.map_err(|error| {
                io::Error::new(
                    error.kind(),
                    format!("spill directory {dir} cannot be used: {error}"),
                )
            }),
            Err(_) => {
                warn!(%dir, "the spill directory does not answer");
                Ok(())
            }
        }
    }
}
