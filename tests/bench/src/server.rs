//! A server under measurement: started on a socket of its own, stopped by its pid.

use std::ffi::OsStr;
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
        Self::new(program, Command::new(program), |command, directory| {
            command
                .args([directory.join("socket"), directory.join("pid")])
                .arg("--foreground");
        })
    }

    /// Starts `program serve` with `options` on a unix socket, and waits until it can be connected to.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn serve<I>(program: &Path, options: I) -> io::Result<Self>
    where
        I: IntoIterator<Item: AsRef<OsStr>>,
    {
        Self::new(program, Command::new(program), |command, directory| {
            serve(command, directory).args(options);
        })
    }

    /// As [`Server::serve`], with a limit on open files.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn serve_with_open_files(program: &Path, most: u32) -> io::Result<Self> {
        let mut limited = Command::new("/bin/sh");
        limited
            .args(["-c", r#"ulimit -n "$0" && exec "$@""#, &most.to_string()])
            .arg(program);
        Self::new(program, limited, |command, directory| {
            serve(command, directory);
        })
    }

    fn new(
        program: &Path,
        mut command: Command,
        arguments: impl FnOnce(&mut Command, &Path),
    ) -> io::Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("sockproc-bench-")
            .tempdir()?;
        arguments(&mut command, directory.path());
        let child = command
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
            socket: directory.path().join("socket"),
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

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
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

fn serve<'a>(command: &'a mut Command, directory: &Path) -> &'a mut Command {
    command
        .args(["serve", "--log", "off", "--listen"])
        .arg(directory.join("socket"))
}

const PATIENCE: Duration = Duration::from_secs(10);
