//! Servers to talk to, real and fake, and the two drivers that talk to them.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::net::{Shutdown, sockopt};
use sockproc_core::connection::{Connection, Receiver};
use sockproc_core::{Address, AddressKind, Error, Output, blocking, client};

/// Much longer than anything here takes, so that only a hang reaches it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Waits until `fact` holds.
#[track_caller]
pub(crate) fn poll_until(mut fact: impl FnMut() -> bool) {
    let start = Instant::now();
    while !fact() {
        assert!(start.elapsed() < DEADLINE, "it has not come true");
        thread::sleep(Duration::from_millis(2));
    }
}

/// The two ways to drive a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Driver {
    Blocking,
    Tokio,
}

impl Driver {
    pub(crate) const BOTH: [Self; 2] = [Self::Blocking, Self::Tokio];

    pub(crate) fn drive<R: Receiver>(
        self,
        run: Connection<R>,
        timeout: Duration,
    ) -> Result<R::Outcome, Error> {
        match self {
            Self::Blocking => blocking::drive(run, Some(timeout)),
            Self::Tokio => runtime().block_on(client::drive(run, Some(timeout))),
        }
    }

    /// Runs `command` with some stdin; no command here takes as long as the deadline.
    pub(crate) fn run(self, server: &Address, command: &str, stdin: &str) -> Result<Output, Error> {
        let stdin = stdin.to_owned();
        let run: Connection = Connection::new(server.clone(), command.to_owned(), stdin)?;
        self.drive(run, DEADLINE)
    }
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Unix,
    Tcp,
}

impl Transport {
    pub(crate) const BOTH: [Self; 2] = [Self::Unix, Self::Tcp];
}

/// Every transport with every driver.
pub(crate) fn everywhere() -> impl Iterator<Item = (Transport, Driver)> {
    let drivers = |transport| Driver::BOTH.map(|driver| (transport, driver));
    Transport::BOTH.into_iter().flat_map(drivers)
}

/// A server of this project, or the one that `$SOCKPROC_TEST_BINARY` names; it ends with this value.
pub(crate) struct Server {
    pub(crate) address: Address,
    process: Child,
    _dir: tempfile::TempDir,
}

impl Server {
    pub(crate) fn start(transport: Transport) -> Self {
        let binary = std::env::var_os("SOCKPROC_TEST_BINARY")
            .unwrap_or_else(|| env!("CARGO_BIN_EXE_sockproc").into());
        let start = Instant::now();
        loop {
            let dir = tempfile::tempdir().unwrap();
            let address = match transport {
                Transport::Unix => Address::unix(dir.path().join("s")).unwrap(),
                Transport::Tcp => Address::tcp(unused_port()).unwrap(),
            };
            let argument = match address.kind() {
                AddressKind::Unix(path) => path.as_os_str().to_owned(),
                AddressKind::Tcp(tcp) => tcp.port().to_string().into(),
            };
            let process = Command::new(&binary)
                .arg(argument)
                .arg("--foreground")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            let mut server = Self {
                address,
                process,
                _dir: dir,
            };
            if server.listens() {
                return server;
            }
            // Another process has taken the port meanwhile.
            assert!(start.elapsed() < DEADLINE, "no server comes up");
        }
    }

    /// Whether it comes up; not, if it has exited.
    fn listens(&mut self) -> bool {
        let mut exited = false;
        poll_until(|| {
            exited = self.process.try_wait().unwrap().is_some();
            exited || Driver::Blocking.run(&self.address, "", "").is_ok()
        });
        !exited
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn unused_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// A server that treats its one client as the test says.
pub(crate) struct Stub<T> {
    pub(crate) address: Address,
    thread: JoinHandle<T>,
    _dir: tempfile::TempDir,
}

impl<T: Send + 'static> Stub<T> {
    pub(crate) fn new(
        transport: Transport,
        serve: impl FnOnce(Peer) -> T + Send + 'static,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (address, thread) = match transport {
            Transport::Unix => {
                let path = dir.path().join("s");
                let listener = UnixListener::bind(&path).unwrap();
                let accept = move || serve(Peer::new(listener.accept().unwrap().0));
                (Address::unix(path).unwrap(), thread::spawn(accept))
            }
            Transport::Tcp => {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
                let address = listener.local_addr().unwrap();
                let accept = move || serve(Peer::new(listener.accept().unwrap().0));
                (Address::tcp(address.port()).unwrap(), thread::spawn(accept))
            }
        };
        Self {
            address,
            thread,
            _dir: dir,
        }
    }

    /// What the stub has seen.
    pub(crate) fn join(self) -> T {
        self.thread.join().unwrap()
    }
}

/// A server that does to each of its clients, one after the other, whatever a test wants.
pub(crate) struct Stubs<T> {
    pub(crate) address: Address,
    thread: JoinHandle<Vec<T>>,
    _dir: tempfile::TempDir,
}

impl<T: Send + 'static> Stubs<T> {
    /// Serves so many connections; `serve` learns which one it is, from 0.
    pub(crate) fn new(
        transport: Transport,
        count: usize,
        serve: impl Fn(usize, Peer) -> T + Send + 'static,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let (address, accept): (_, Box<dyn FnMut() -> Peer + Send>) = match transport {
            Transport::Unix => {
                let listener = UnixListener::bind(&path).unwrap();
                let accept = move || Peer::new(listener.accept().unwrap().0);
                (Address::unix(path).unwrap(), Box::new(accept))
            }
            Transport::Tcp => {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
                let port = listener.local_addr().unwrap().port();
                let accept = move || Peer::new(listener.accept().unwrap().0);
                (Address::tcp(port).unwrap(), Box::new(accept))
            }
        };
        let mut accept = accept;
        let serve_all = move || (0..count).map(|number| serve(number, accept())).collect();
        Self {
            address,
            thread: thread::spawn(serve_all),
            _dir: dir,
        }
    }

    /// What it has seen of each.
    pub(crate) fn join(self) -> Vec<T> {
        self.thread.join().unwrap()
    }
}

/// The stub's end of its one connection.
pub(crate) struct Peer(std::fs::File);

impl Peer {
    fn new(socket: impl Into<OwnedFd>) -> Self {
        let socket = socket.into();
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(DEADLINE)).unwrap();
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(DEADLINE)).unwrap();
        Self(socket.into())
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Reads a request: its command, and the stdin that was announced.
    pub(crate) fn read_request(&mut self) -> (Vec<u8>, Vec<u8>) {
        let command = self.read_line();
        let len = String::from_utf8(self.read_line())
            .unwrap()
            .parse()
            .unwrap();
        let mut stdin = vec![0; len];
        self.0.read_exact(&mut stdin).unwrap();
        (command, stdin)
    }

    pub(crate) fn read_line(&mut self) -> Vec<u8> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap();
            line.extend(byte);
        }
        line.truncate(line.len() - 2);
        line
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).unwrap();
    }

    /// Ends this side only, and waits until the client has gone.
    pub(crate) fn end(mut self) {
        let _ = rustix::net::shutdown(&self.0, Shutdown::Write);
        let _ = io::copy(&mut self.0, &mut io::sink());
    }

    /// On TCP, closes with a reset.
    pub(crate) fn reset(self) {
        sockopt::set_socket_linger(&self.0, Some(Duration::ZERO)).unwrap();
    }

    /// How the client's side ends: what was left to read, and then end of file or an error.
    pub(crate) fn read_to_end(&mut self) -> (Vec<u8>, io::Result<()>) {
        let mut bytes = Vec::new();
        let end = self.0.read_to_end(&mut bytes).map(drop);
        (bytes, end)
    }

    /// Whether the peer has closed both ways, as poll(2) tells it on a unix socket.
    pub(crate) fn hung_up(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec::default())).unwrap();
        fds[0].revents().contains(PollFlags::HUP)
    }
}

/// The classic answer of a command that has ended.
pub(crate) fn answer(status: i32, stdout: &[u8], stderr: &[u8]) -> Vec<u8> {
    let head = format!("status:{status}\r\n{}\r\n", stdout.len());
    let middle = format!("{}\r\n", stderr.len());
    [head.as_bytes(), stdout, middle.as_bytes(), stderr].concat()
}
