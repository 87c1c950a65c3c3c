//! A server of the test's own, on an address that no other copy of the test can take.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::address::reserve_port;
use super::{
    Address, Connection, Reply, Transport, binary, descendants, fd_count, poll_until, settled,
    sockets, unix_sockets,
};

/// How a server is to be started.
pub(crate) struct Setup {
    pub(crate) dir: TempDir,
    pub(crate) address: Address,
    port: Option<OwnedFd>,
    preamble: String,
    arguments: Vec<OsString>,
    serve: bool,
    own_group: bool,
}

impl Setup {
    pub(crate) fn new(on: Transport) -> Setup {
        let dir = tempfile::tempdir().unwrap();
        let (address, port) = match on {
            Transport::Unix => (Address::Unix(dir.path().join("s.sock")), None),
            Transport::Tcp => {
                let (number, guard) = reserve_port();
                (Address::Tcp(number), Some(guard))
            }
        };
        Setup {
            dir,
            address,
            port,
            preamble: ":".into(),
            arguments: Vec::new(),
            serve: false,
            own_group: false,
        }
    }

    /// A line of shell that runs before the server, in its process: limits, umask, redirections.
    pub(crate) fn shell(mut self, line: &str) -> Setup {
        self.preamble = format!("{}; {line}", self.preamble);
        self
    }

    /// More words for the command line.
    pub(crate) fn args<S: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = S>) -> Setup {
        self.arguments
            .extend(words.into_iter().map(|word| word.as_ref().into()));
        self
    }

    /// Starts `sockproc serve` with these options instead of the classic command line.
    pub(crate) fn serve<S: AsRef<OsStr>>(mut self, options: impl IntoIterator<Item = S>) -> Setup {
        self.serve = true;
        self.args(options)
    }

    /// Starts it in a process group of its own, where a stray `kill 0` ends it and not this test.
    pub(crate) fn in_own_group(mut self) -> Setup {
        self.own_group = true;
        self
    }

    /// The command that would start this server.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new("/bin/sh");
        command
            .arg("-c")
            .arg(format!("{}; exec \"$@\"", self.preamble))
            .arg("sh")
            .arg(binary());
        if self.serve {
            command.args([
                "serve".as_ref(),
                "--listen".as_ref(),
                self.address.full().as_os_str(),
            ]);
        } else {
            command.arg(self.address.word());
        }
        command
            .args(&self.arguments)
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
        if self.own_group {
            command.process_group(0);
        }
        command
    }

    /// Starts it in the foreground and waits until it listens. What it says goes to a file.
    #[track_caller]
    pub(crate) fn start(self) -> TestServer {
        let log = File::create(self.dir.path().join("log")).unwrap();
        let mut command = self.command();
        if !self.serve {
            command.arg("--foreground");
        }
        let process = command
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut server = TestServer {
            process,
            address: self.address,
            dir: self.dir,
            _port: self.port,
        };
        poll_until(|| {
            let ended = server.process.try_wait().unwrap();
            assert!(
                ended.is_none(),
                "it did not start: {ended:?} {}",
                server.log()
            );
            server.address.is_served()
        });
        server
    }
}

/// A running server; it and what it has started end with this value.
pub(crate) struct TestServer {
    pub(crate) process: Child,
    pub(crate) address: Address,
    pub(crate) dir: TempDir,
    _port: Option<OwnedFd>,
}

impl TestServer {
    #[track_caller]
    pub(crate) fn connect(&self) -> Connection {
        self.address.connect().expect("connect")
    }

    /// The answer to a command with empty stdin.
    #[track_caller]
    pub(crate) fn run(&self, command: impl AsRef<[u8]>) -> Reply {
        self.run_with(command, b"")
    }

    /// The answer to a command with this stdin, which is sent while the answer is awaited.
    #[track_caller]
    pub(crate) fn run_with(&self, command: impl AsRef<[u8]>, stdin: impl AsRef<[u8]>) -> Reply {
        let mut connection = self.connect();
        connection.send_beside(request(command, stdin));
        connection.read_last_reply()
    }

    /// Everything the server says to exactly these bytes; the connection is not half-closed.
    #[track_caller]
    pub(crate) fn exchange(&self, bytes: impl AsRef<[u8]>) -> Vec<u8> {
        let mut connection = self.connect();
        connection.send(bytes);
        connection.read_to_end()
    }

    /// A connection on which this was sent.
    #[track_caller]
    pub(crate) fn send(&self, bytes: impl AsRef<[u8]>) -> Connection {
        let mut connection = self.connect();
        connection.send(bytes);
        connection
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What a command has written to a file in the server's directory; empty if there is no file.
    pub(crate) fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.path(name)).unwrap_or_default()).into_owned()
    }

    /// Waits for a file that holds a whole line, and returns it.
    #[track_caller]
    pub(crate) fn wait_for(&self, name: &str) -> String {
        poll_until(|| self.read(name).ends_with('\n'));
        self.read(name)
    }

    pub(crate) fn log(&self) -> String {
        self.read("log")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn fd_count(&self) -> usize {
        fd_count(self.pid())
    }

    /// How many connections it has accepted and not closed yet.
    pub(crate) fn connections(&self) -> usize {
        let sockets = sockets(self.pid());
        let of_unix = unix_sockets();
        let is_connection = |inode: &String| match &self.address {
            Address::Unix(path) => of_unix
                .get(inode)
                .is_some_and(|socket| socket.is_accepted_at(path)),
            // Its signals come over a pair of unix sockets.
            Address::Tcp(_) => !of_unix.contains_key(inode),
        };
        let listeners = match self.address {
            Address::Unix(_) => 0,
            Address::Tcp(_) => 1,
        };
        sockets
            .iter()
            .filter(|inode| is_connection(inode))
            .count()
            .saturating_sub(listeners)
    }

    /// How many descriptors the server holds when nothing is going on.
    #[track_caller]
    pub(crate) fn settled_fd_count(&self) -> usize {
        self.run("true");
        poll_until(|| self.connections() == 0);
        settled(10, || self.fd_count())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// Waits for the server's own end.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        poll_until(|| {
            status = self.process.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if let Ok(None) = self.process.try_wait() {
            for pid in descendants(self.pid()) {
                let _ = kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL);
            }
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A whole classic request.
pub(crate) fn request(command: impl AsRef<[u8]>, stdin: impl AsRef<[u8]>) -> Vec<u8> {
    let count = format!("\r\n{}\r\n", stdin.as_ref().len());
    [command.as_ref(), count.as_bytes(), stdin.as_ref()].concat()
}
