//! Fake servers, each in a thread of its own.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::net::{Shutdown, sockopt};
use sockproc_core::Address;

use super::support::{DEADLINE, Transport};

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
