//! A server under measurement: started on a socket of its own, stopped by its pid.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A running server; dropping it stops it.
pub struct Server {
    child: Child,
    socket: PathBuf,
    // Dropped last: the server unlinks its socket and pidfile in here when it ends.
    _directory: TempDir,
}

impl Server {
    /// Starts `program SOCKET PIDFILE --foreground` and waits until it can be connected to.
    ///
    /// # Errors
    /// The program cannot be started, ends at once, or does not listen within ten seconds.
    pub fn start(program: &Path) -> io::Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("sockproc-bench-")
            .tempdir()?;
        let socket = directory.path().join("socket");
        let child = Command::new(program)
            .args([&socket, &directory.path().join("pid")])
            .arg("--foreground")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| {
                io::Error::new(
                    error.kind(),
                    format!("cannot start {}: {error}", program.display()),
                )
            })?;
        let mut server = Self {
            child,
            socket,
            _directory: directory,
        };
        server.wait_until_it_listens(program)?;
        Ok(server)
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    fn wait_until_it_listens(&mut self, program: &Path) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let Err(error) = UnixStream::connect(&self.socket) else {
                return Ok(());
            };
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!(
                    "{} ended at its start: {status}",
                    program.display()
                )));
            }
            if Instant::now() > deadline {
                return Err(io::Error::new(
                    error.kind(),
                    format!("{} does not listen: {error}", program.display()),
                ));
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn ended_by(&mut self, signal: Signal) -> bool {
        // Not reaped yet, so the number is still its own.
        let _ = kill_process(Pid::from_child(&self.child), signal);
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return true;
            }
            thread::sleep(Duration::from_millis(5));
        }
        false
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.ended_by(Signal::TERM) {
            self.ended_by(Signal::KILL);
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
