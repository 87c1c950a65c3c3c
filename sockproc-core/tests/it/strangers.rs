//! Clients that send descriptors no one asked for.

use std::io::{IoSlice, Write};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use crate::support::{Connection, Reply, TestServer, Transport, poll_until};

/// The most that one message carries (`SCM_MAX_FD`).
const MAX_FDS: usize = 253;

#[test]
fn a_lingering_socket_from_a_client_holds_up_no_other() {
    let server = Transport::Unix.server();
    let before = server.settled_fd_count();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut peers = Vec::new();
    for at_once in [
        "echo hi\r\n0\r\n",
        "ec",
        "cat\r\n5\r\nab",
        "true\r\n0\r\nrest",
    ] {
        for _ in 0..2 {
            let lingering = lingering(&listener, &mut peers);
            let client = server.connect();
            send_with_fds(&client, at_once.as_bytes(), &[lingering.as_fd()]);
            // The last copy is the server's.
            drop(lingering);
            let begin = Instant::now();
            assert_eq!(server.run("echo hi"), Reply::new(0, "hi\n", ""));
            assert!(begin.elapsed() < LINGER / 2, "{:?}", begin.elapsed());
        }
    }
    poll_until(|| server.fd_count() == before);
}

#[test]
fn a_request_that_brings_descriptors_is_answered_and_they_are_closed() {
    let server = Transport::Unix.server();
    let before = server.settled_fd_count();
    let file = std::fs::File::open("/dev/null").unwrap();
    let fds = vec![file.as_fd(); MAX_FDS];
    for _ in 0..20 {
        let mut client = server.connect();
        send_with_fds(&client, b"cat; ls /proc/self/fd | wc -l\r\n3\r\n", &fds);
        send_with_fds(&client, b"abc", &fds);
        assert_eq!(client.read_last_reply(), Reply::new(0, "abc4\n", ""));
    }
    poll_until(|| server.fd_count() == before);
}

#[test]
fn a_flood_of_descriptors_leaves_a_server_with_few_of_them_alive() {
    let server = Transport::Unix.setup().shell("ulimit -n 64").start();
    let file = std::fs::File::open("/dev/null").unwrap();
    let fds = vec![file.as_fd(); MAX_FDS];
    let flood = |server: &TestServer| {
        let client = server.connect();
        send_with_fds(&client, b"sleep 1000", &fds);
        client
    };
    let _clients: Vec<_> = (0..20).map(|_| flood(&server)).collect();
    for _ in 0..50 {
        drop(flood(&server));
        assert_eq!(server.run("echo hi"), Reply::new(0, "hi\n", ""));
    }
}

const LINGER: Duration = Duration::from_secs(20);

/// A socket whose close would wait until its peer has read, which that never does.
fn lingering(listener: &TcpListener, peers: &mut Vec<TcpStream>) -> TcpStream {
    let mut socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    peers.push(listener.accept().unwrap().0);
    socket.set_nonblocking(true).unwrap();
    while socket.write(&[0; 65536]).is_ok() {}
    socket.set_nonblocking(false).unwrap();
    set_socket_linger(&socket, Some(LINGER)).unwrap();
    socket
}

fn send_with_fds(client: &Connection, data: &[u8], fds: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(fds)));
    let parts = [IoSlice::new(data)];
    let sent = sendmsg(client, &parts, &mut control, SendFlags::NOSIGNAL);
    assert_eq!(sent.unwrap(), data.len());
}
