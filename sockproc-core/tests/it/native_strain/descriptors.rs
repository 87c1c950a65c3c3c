//! Descriptors that are missing, too many, closed at the other end, or of the wrong kind.

use std::fs::File;
use std::io::Read;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use sockproc_core::proto::opening::{GREETING, OPENING};

use super::bystanders::Bystanders;
use super::wire::*;
use crate::support::{Connection, MAX_FDS, Reply, TestServer, Transport, poll_until};

/// Records, and how many descriptors come with them.
const MISCOUNTED: &[(&str, usize)] = &[
    ("arg=true|", 1),
    ("arg=true|", 16),
    ("arg=true|", 17),
    ("arg=true|", MAX_FDS),
    ("arg=true|stdin=fd|", 0),
    ("arg=true|stdin=fd|", 2),
    ("arg=true|stdin=fd|stdout=fd|stderr=fd|", 2),
    ("arg=true|stdin=fd|fd=9|", 1),
    ("arg=true|stderr=stdout|stdout=fd|", 2),
];

#[test]
fn more_or_fewer_than_announced_are_refused_and_closed() {
    let server = Transport::Unix.server();
    let bystanders = Bystanders::of(&server);
    for &(run, count) in MISCOUNTED {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let fds = vec![theirs.as_fd(); count];
        let mut client = ask_with(&server, run, &fds);
        drop(theirs);
        let refused = Heard::parse(&client.read_to_end()).last(REFUSED);
        assert_eq!(refused["kind"], "bad-request", "{run} {count}: {refused:?}");
        // No copy is left, though the connection still is.
        ours.set_read_timeout(Some(crate::support::DEADLINE))
            .unwrap();
        assert_eq!(ours.read(&mut [0]).unwrap(), 0, "{run} {count}");
    }
    bystanders.are_untouched();
}

#[test]
fn on_tcp_none_can_come() {
    let server = Transport::Tcp.server();
    for run in [
        "arg=true|stdin=fd|",
        "arg=true|stdout=fd|",
        "arg=true|fd=5|",
    ] {
        let refused = Heard::parse(&server.exchange(ask(run))).last(REFUSED);
        assert!(
            ["bad-request", "unsupported"].contains(&refused["kind"].as_str()),
            "{run}: {refused:?}"
        );
    }
}

#[test]
fn those_that_come_behind_run_are_closed() {
    let server = Transport::Unix.server();
    let bystanders = Bystanders::of(&server);
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let mut client = server.connect();
    client.send(ask("arg=cat|stdin=frames|"));
    assert_eq!(client.read_exactly(GREETING.len()), GREETING);
    assert_eq!(client.read_frame().0, STARTED);
    for _ in 0..20 {
        client.send_with_fds(&frame(STDIN, "x"), &[theirs.as_fd(); MAX_FDS]);
    }
    drop(theirs);
    client.send(frame(STDIN_END, ""));
    let heard = Heard::parse(&[GREETING, &client.read_to_end()].concat());
    assert_eq!(heard.last(EXITED)["exit"], "0");
    assert_eq!(heard.bytes(STDOUT), [b'x'; 20]);
    ours.set_read_timeout(Some(crate::support::DEADLINE))
        .unwrap();
    assert_eq!(ours.read(&mut [0]).unwrap(), 0);
    bystanders.are_untouched();
}

/// The command meets them as it would meet its own.
#[test]
fn one_of_the_wrong_kind_is_the_commands_affair() {
    let server = Transport::Unix.server();
    let bystanders = Bystanders::of(&server);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (directory, null) = (File::open("/").unwrap(), File::open("/dev/null").unwrap());
    let (pipe, writer) = std::io::pipe().unwrap();
    let (reader, broken) = std::io::pipe().unwrap();
    drop((reader, writer));
    let epoll = rustix::event::epoll::create(rustix::event::epoll::CreateFlags::CLOEXEC).unwrap();
    let path = File::from(
        rustix::fs::open("/", rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).unwrap(),
    );
    let cases: [(&str, BorrowedFd, &str); 7] = [
        ("arg=cat|stdin=fd|", directory.as_fd(), "1"),
        ("arg=cat|stdin=fd|", listener.as_fd(), "1"),
        ("arg=cat|stdin=fd|", epoll.as_fd(), "1"),
        ("arg=cat|stdin=fd|", path.as_fd(), "1"),
        ("arg=cat|stdin=fd|", pipe.as_fd(), "0"),
        ("line=echo hi|stdout=fd|", null.as_fd(), "1"),
        ("line=trap '' PIPE; echo hi|stdout=fd|", broken.as_fd(), "1"),
    ];
    for (run, fd, code) in cases {
        let heard = Heard::parse(&ask_with(&server, run, &[fd]).read_to_end());
        let exited = heard.last(EXITED);
        let exit = exited["exit"].parse::<u8>().unwrap().min(1).to_string();
        assert_eq!(exit, code, "{run} {fd:?}: {exited:?}");
    }
    bystanders.are_untouched();
}

/// A server with few descriptors, and clients that hold as many of them as it lets them.
#[test]
fn descriptors_of_requests_that_wait_leave_a_server_with_few_of_them_alive() {
    let server = Transport::Unix.setup().shell("ulimit -n 128").start();
    let file = File::open("/dev/null").unwrap();
    let clients: Vec<Connection> = (0..60)
        .map(|_| {
            let mut client = server.send(OPENING);
            // A RUN that is never whole holds its descriptors.
            let fds = vec![file.as_fd(); 16];
            assert_eq!(client.read_exactly(13).len(), 13);
            client.send_with_fds(&header(RUN, 100), &fds);
            client
        })
        .collect();
    for _ in 0..10 {
        assert_eq!(server.run("echo hi"), Reply::new(0, "hi\n", ""));
    }
    let run = "line=echo hi|";
    let heard = Heard::parse(&server.exchange(ask(run)));
    assert_eq!(heard.bytes(STDOUT), b"hi\n");
    drop(clients);
    poll_until(|| server.connections() == 0);
}

/// A connection on which this was asked, with descriptors.
#[track_caller]
fn ask_with(server: &TestServer, run: &str, fds: &[BorrowedFd]) -> Connection {
    let client = server.send(OPENING);
    let run = records(RUN, run);
    if fds.is_empty() {
        let mut client = client;
        client.send(&run);
        return client;
    }
    client.send_with_fds(&run, fds);
    client
}
