//! A server inside this process, for one run.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};

use tracing::level_filters::LevelFilter;

use crate::cli::log::{self, Log};
use crate::cli::server_process;
use crate::proto::OnDisconnect;
use crate::server::Config;

/// The thread that serves. It ends with its connection, and its command with it.
pub(super) struct OwnServer(JoinHandle<()>);

impl OwnServer {
    /// Starts it. Also returns the client's end of the connection.
    pub(super) fn start() -> io::Result<(Self, OwnedFd)> {
        let (ours, its) = UnixStream::pair()?;
        let config = Config {
            classic_on_disconnect: OnDisconnect::Kill,
            // As under a daemon: it is in no foreground group, so it could only be stopped by the
            // terminal.
            new_session: true,
            ..Config::default()
        };
        // What it refuses is told by us.
        Log::begin(log::level_or(LevelFilter::ERROR));
        let serve = server_process::serve_one(OwnedFd::from(its), config)?;
        Ok((Self(thread::spawn(serve)), ours.into()))
    }

    /// Waits until its command has ended; the connection must be closed.
    pub(super) fn join(self) {
        // A panic of the thread has been told on stderr.
        let _ = self.0.join();
    }
}
