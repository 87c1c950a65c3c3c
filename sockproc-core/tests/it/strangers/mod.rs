//! Clients that send descriptors no one asked for.

mod few_numbers;

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::SendFlags;
use rustix::net::sockopt::set_socket_linger;
use rustix::pipe::pipe;
use rustix::process::Signal;

use crate::native::client::{Client, line};
use crate::support::{Connection, MAX_FDS, Reply, TestServer, Transport, poll_until, state_of};

#[test]
fn a_lingering_socket_from_a_client_holds_up_no_other() {
    let server = Transport::Unix.server();
    let before = server.settled_fd_count();
    let mut lingering = Lingering::new();
    for at_once in [
        "echo hi\r\n0\r\n",
        "ec",
        "cat\r\n5\r\nab",
        "true\r\n0\r\nrest",
    ] {
        for _ in 0..2 {
            let socket = lingering.socket();
            let client = server.connect();
            client.send_with_fds(at_once.as_bytes(), &[socket.as_fd()]);
            // The last copy is the server's.
            drop(socket);
            answers_at_once(&server);
        }
    }
    poll_until(|| server.fd_count() == before);
}

#[test]
fn a_lingering_socket_that_a_client_leaves_unread_holds_up_no_other() {
    let server = Transport::Unix.server();
    let before = server.settled_fd_count();
    let mut lingering = Lingering::new();
    // The server finds out at its greeting, or before, that the client has gone.
    for _ in 0..8 {
        let [read, unread] = [(); 2].map(|()| lingering.socket());
        let client = server.connect();
        client.send_with_fds(b"#sockproc/2\r\n0\r\n\x01", &[read.as_fd()]);
        client.send_with_fds(b"\0", &[unread.as_fd()]);
        drop((client, read, unread));
        answers_at_once(&server);
    }
    poll_until(|| server.fd_count() == before);
}

#[test]
fn a_lingering_socket_beside_a_byte_out_of_band_holds_up_no_other() {
    let server = Transport::Unix.server();
    let before = server.settled_fd_count();
    let mut lingering = Lingering::new();
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let client = server.connect();
            client.send_with_fds_and(SendFlags::OOB, b"e", &[lingering.socket().as_fd()]);
            client
        })
        .collect();
    answers_at_once(&server);
    drop(clients);
    poll_until(|| server.fd_count() == before);
}

#[test]
fn a_lingering_socket_on_a_connection_that_is_not_accepted_does_not_keep_a_server_from_its_end() {
    let mut server = Transport::Unix.setup().shell("ulimit -n 64").start();
    let mut lingering = Lingering::new();
    let _waiting: Vec<_> = (0..200).map(|_| server.send("ec")).collect();
    let _behind: Vec<_> = (0..4)
        .map(|_| {
            let client = server.connect();
            client.send_with_fds(b"ec", &[lingering.socket().as_fd()]);
            client
        })
        .collect();
    let begin = Instant::now();
    server.signal(Signal::TERM);
    server.wait();
    assert!(begin.elapsed() < LINGER / 2, "{:?}", begin.elapsed());
}

#[test]
fn descriptors_whose_closing_hangs_hold_up_only_who_sends_some() {
    let server = Transport::Unix.server();
    let before = server.settled_fd_count();
    let mut lingering = Lingering::new();
    let null = File::open("/dev/null").unwrap();
    let mut clients = Vec::new();
    let mut send = |fds: &[BorrowedFd<'_>]| {
        let client = server.connect();
        client.send_with_fds(b"ec", fds);
        clients.push(client);
    };
    while_stopped(&server, || {
        for _ in 0..40 {
            send(&[lingering.in_a_socket().as_fd()]);
        }
    });
    for _ in 0..4 {
        send(&[null.as_fd(); MAX_FDS]);
    }
    // As many as may wait for their close.
    poll_until(|| server.fd_count() > before + 2 * MAX_FDS);
    let mut request = line("echo there >&9");
    request.fds = vec![9];
    let (read, write) = pipe().unwrap();
    let mut sender = Client::ask_with(&server, &request, &[write.as_fd()]);
    drop(write);
    answers_at_once(&server);
    rustix::io::ioctl_fionbio(&read, true).unwrap();
    let early = rustix::io::read(&read, &mut [0]);
    assert_eq!(early, Err(Errno::AGAIN), "its descriptor waits");
    drop(lingering);
    assert_eq!(sender.finish().code(), 0);
    rustix::io::ioctl_fionbio(&read, false).unwrap();
    let mut text = String::new();
    File::from(read).read_to_string(&mut text).unwrap();
    assert_eq!(text, "there\n");
    drop((clients, sender));
    poll_until(|| server.fd_count() == before);
}

#[test]
fn a_request_that_brings_descriptors_is_answered_and_they_are_closed() {
    let server = Transport::Unix.server();
    let before = server.settled_fd_count();
    let file = File::open("/dev/null").unwrap();
    let fds = vec![file.as_fd(); MAX_FDS];
    for _ in 0..20 {
        let mut client = server.connect();
        client.send_with_fds(b"cat; ls /proc/self/fd | wc -l\r\n3\r\n", &fds);
        client.send_with_fds(b"abc", &fds);
        assert_eq!(client.read_last_reply(), Reply::new(0, "abc4\n", ""));
    }
    poll_until(|| server.fd_count() == before);
}

/// What is closed in here is the server's alone when it goes on.
fn while_stopped(server: &TestServer, work: impl FnOnce()) {
    server.signal(Signal::STOP);
    poll_until(|| state_of(server.pid()) == Some('T'));
    work();
    server.signal(Signal::CONT);
}

const LINGER: Duration = Duration::from_secs(20);

#[track_caller]
fn answers_at_once(server: &TestServer) {
    let begin = Instant::now();
    assert_eq!(server.run("echo hi"), Reply::new(0, "hi\n", ""));
    assert!(begin.elapsed() < LINGER / 2, "{:?}", begin.elapsed());
}

/// Makes sockets whose close would wait until their peers have read, which these never do.
struct Lingering {
    listener: TcpListener,
    peers: Vec<TcpStream>,
}

impl Lingering {
    fn new() -> Self {
        Self {
            listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(),
            peers: Vec::new(),
        }
    }

    fn socket(&mut self) -> TcpStream {
        let mut socket = TcpStream::connect(self.listener.local_addr().unwrap()).unwrap();
        self.peers.push(self.listener.accept().unwrap().0);
        socket.set_nonblocking(true).unwrap();
        while socket.write(&[0; 65536]).is_ok() {}
        socket.set_nonblocking(false).unwrap();
        set_socket_linger(&socket, Some(LINGER)).unwrap();
        socket
    }

    /// A socket in which one waits unread: it is closed with that, and lingers.
    fn in_a_socket(&mut self) -> UnixStream {
        let (outer, inner) = UnixStream::pair().unwrap();
        Connection::new(outer).send_with_fds(b"x", &[self.socket().as_fd()]);
        inner
    }
}
