//! A server of the test's own, on an address that no other copy of the test can take.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with, sockopt};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{Connection, Reply, binary, descendants, fd_count, poll_until};

/// What a connection travels over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Unix,
    Tcp,
}

impl Transport {
    /// A server in the foreground, started by the classic command line.
    pub(crate) fn server(self) -> TestServer {
        self.setup().start()
    }

    pub(crate) fn setup(self) -> Setup {
        Setup::new(self)
    }
}

/// Where a server listens.
#[derive(Clone, Debug)]
pub(crate) enum Address {
    Unix(PathBuf),
    Tcp(u16),
}

impl Address {
    pub(crate) fn connect(&self) -> io::Result<Connection> {
        Ok(match self {
            Address::Unix(path) => Connection::new(UnixStream::connect(path)?),
            Address::Tcp(port) => Connection::new(TcpStream::connect((Ipv4Addr::LOCALHOST, *port))?),
        })
    }

    /// As the classic command line takes it.
    pub(crate) fn word(&self) -> OsString {
        match self {
            Address::Unix(path) => path.into(),
            Address::Tcp(port) => port.to_string().into(),
        }
    }

    /// As named options take it.
    pub(crate) fn full(&self) -> OsString {
        match self {
            Address::Unix(path) => format!("unix:{}", path.display()).into(),
            Address::Tcp(port) => format!("127.0.0.1:{port}").into(),
        }
    }

    /// Somebody listens here. TCP is not connected to: the server would take it for a request.
    pub(crate) fn is_served(&self) -> bool {
        match self {
            Address::Unix(path) => UnixStream::connect(path).is_ok(),
            Address::Tcp(port) => {
                let listening = format!(" 0100007F:{port:04X} 00000000:0000 0A ");
                fs::read_to_string("/proc/net/tcp").unwrap().contains(&listening)
            }
        }
    }
}

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
    fn new(on: Transport) -> Setup {
        let dir = tempfile::tempdir().unwrap();
        let (address, port) = match on {
            Transport::Unix => (Address::Unix(dir.path().join("s.sock")), None),
            Transport::Tcp => {
                let (number, guard) = reserve_port();
                (Address::Tcp(number), Some(guard))
            }
        };
        Setup { dir, address, port, preamble: ":".into(), arguments: Vec::new(), serve: false, own_group: false }
    }

    /// A line of shell that runs before the server, in its process: limits, umask, redirections.
    pub(crate) fn shell(mut self, line: &str) -> Setup {
        self.preamble = format!("{}; {line}", self.preamble);
        self
    }

    /// More words for the command line.
    pub(crate) fn args<S: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = S>) -> Setup {
        self.arguments.extend(words.into_iter().map(|word| word.as_ref().into()));
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
        command.arg("-c").arg(format!("{}; exec \"$@\"", self.preamble)).arg("sh").arg(binary());
        if self.serve {
            command.args(["serve".as_ref(), "--listen".as_ref(), self.address.full().as_os_str()]);
        } else {
            command.arg(self.address.word());
        }
        command.args(&self.arguments).current_dir(self.dir.path()).stdin(Stdio::null());
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
        let process = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let mut server = TestServer { process, address: self.address, dir: self.dir, _port: self.port };
        poll_until(|| {
            let ended = server.process.try_wait().unwrap();
            assert!(ended.is_none(), "it did not start: {ended:?} {}", server.log());
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

    /// What a command has written to a file in the server's directory; empty if there is none.
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

/// A loopback port that is the server's alone while the guard lives. It is given out by the kernel to a socket without SO_REUSEADDR,
/// so to nobody else; then the guard, which never listens, lets one server with SO_REUSEADDR bind it too.
fn reserve_port() -> (u16, OwnedFd) {
    let guard = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    bind(&guard, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
    sockopt::set_socket_reuseaddr(&guard, true).unwrap();
    let port = SocketAddrV4::try_from(getsockname(&guard).unwrap()).unwrap().port();
    (port, guard)
}
