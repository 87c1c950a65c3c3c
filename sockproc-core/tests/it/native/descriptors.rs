//! Descriptors that a client passes to its command.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};

use sockproc_core::proto::{ClientEvent, RefusalKind, StreamMode};

use super::client::{Client, argv, line};
use crate::support::{MAX_FDS, TestServer, Transport, poll_until};

#[test]
fn a_passed_file_is_the_commands_own_and_its_bytes_never_pass_the_server() {
    let server = Transport::Unix.server();
    let mut input = tempfile::tempfile().unwrap();
    input.write_all(b"3\n1\n2\n").unwrap();
    input.rewind().unwrap();
    let mut output = tempfile::tempfile().unwrap();
    let mut request = argv(&["sort"]);
    request.stdin = StreamMode::Descriptor;
    request.stdout = StreamMode::Descriptor;
    let told = Client::ask_with(&server, &request, &[input.as_fd(), output.as_fd()]).finish();
    assert_eq!((told.code(), told.exit().stdout.bytes), (0, 0));
    output.rewind().unwrap();
    let mut sorted = String::new();
    output.read_to_string(&mut sorted).unwrap();
    assert_eq!(sorted, "1\n2\n3\n");
}

#[test]
fn further_descriptors_get_the_numbers_that_were_asked_for() {
    let server = Transport::Unix.server();
    let (read, write) = rustix::pipe::pipe().unwrap();
    let (other, _kept) = rustix::pipe::pipe().unwrap();
    let script = "echo nine >&9; for fd in 0 1 2 3 4 5 6 7 8 9; do \
                  [ -e /proc/$$/fd/$fd ] && echo $fd; done";
    let mut request = line(script);
    request.stdin = StreamMode::Null;
    request.fds = vec![9, 3];
    let mut client = Client::ask_with(&server, &request, &[write.as_fd(), other.as_fd()]);
    let told = client.finish();
    assert_eq!(told.out(), "0\n1\n2\n3\n9\n");
    drop(write);
    let mut text = String::new();
    File::from(read).read_to_string(&mut text).unwrap();
    // The server has closed its copies: there is an end.
    assert_eq!(text, "nine\n");
}

/// Their numbers in the server are those that the command is to have, in another order.
#[test]
fn numbers_may_be_those_that_the_server_itself_uses() {
    let server = Transport::Unix.server();
    let files: Vec<OwnedFd> = (0..14)
        .map(|_| tempfile::tempfile().unwrap().into())
        .collect();
    let fds: Vec<_> = files.iter().map(AsFd::as_fd).collect();
    // dash knows numbers of one digit only.
    let script = "for fd in {3..16}; do eval \"echo $fd >&$fd\"; done";
    let mut request = argv(&["bash", "-c", script]);
    request.fds = (3..17).rev().collect();
    assert_eq!(Client::ask_with(&server, &request, &fds).finish().code(), 0);
    for (file, number) in files.into_iter().zip((3..17).rev()) {
        let mut file = File::from(file);
        file.rewind().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, format!("{number}\n"));
    }
}

#[test]
fn more_or_fewer_than_announced_are_closed_and_the_request_is_refused() {
    let server = Transport::Unix.server();
    let before = server.settled_fd_count();
    let null = File::open("/dev/null").unwrap();
    let mut request = argv(&["true"]);
    request.fds = vec![3, 4];
    for count in [0, 1, 3, 17, MAX_FDS] {
        let fds = vec![null.as_fd(); count];
        let mut client = Client::open(&server);
        let run = client.session.send_run(&request).unwrap();
        if count == 0 {
            client.connection.send(run);
        } else {
            client.connection.send_with_fds(&run, &fds);
        }
        let told = client.finish();
        assert_eq!(told.refusal().kind, RefusalKind::BadRequest, "{count}");
    }
    poll_until(|| server.fd_count() == before);
    assert_eq!(run_with_two(&server), 0);
    poll_until(|| server.fd_count() == before);
}

#[test]
fn descriptors_that_come_with_anything_else_are_closed() {
    let server = Transport::Unix.server();
    let before = server.settled_fd_count();
    let null = File::open("/dev/null").unwrap();
    let fds = vec![null.as_fd(); 100];
    let mut request = line("cat; exec ls /proc/self/fd");
    request.fds = vec![];
    let mut connection = server.connect();
    connection.send_with_fds(sockproc_core::proto::opening::OPENING, &fds);
    connection.read_exactly(sockproc_core::proto::opening::GREETING.len());
    let session = sockproc_core::proto::native::ClientSession::new();
    let mut client = Client {
        connection,
        session,
    };
    let run = client.session.send_run(&request).unwrap();
    client.connection.send(run);
    client.wait_for_start();
    let [header, data] = client.session.send_stdin("abc\n".into()).unwrap();
    client.connection.send_with_fds(&header, &fds);
    client.connection.send_with_fds(&data, &fds);
    client.end_stdin();
    // The last one is the directory.
    assert_eq!(client.finish().out(), "abc\n0\n1\n2\n3\n");
    poll_until(|| server.fd_count() == before);
}

#[test]
fn descriptors_ride_on_the_first_part_of_a_request_that_comes_in_parts() {
    let server = Transport::Unix.server();
    let null = File::open("/dev/null").unwrap();
    let mut request = line("[ -e /proc/$$/fd/7 ]");
    request.stdin = StreamMode::Null;
    request.fds = vec![7];
    let mut client = Client::open(&server);
    let run = client.session.send_run(&request).unwrap();
    client.connection.send_with_fds(&run[..1], &[null.as_fd()]);
    for byte in &run[1..] {
        client.connection.send([*byte]);
    }
    assert_eq!(client.finish().code(), 0);
}

#[test]
fn a_hung_up_terminal_ends_what_it_controls() {
    let server = Transport::Unix.server();
    let master =
        rustix::pty::openpt(rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY)
            .unwrap();
    rustix::pty::grantpt(&master).unwrap();
    rustix::pty::unlockpt(&master).unwrap();
    let name = rustix::pty::ptsname(&master, Vec::new()).unwrap();
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY;
    let slave = rustix::fs::open(&name, flags, rustix::fs::Mode::empty()).unwrap();
    let mut request = line(
        "trap 'echo hup > told; exit' HUP; [ -t 0 ] && echo tty > /dev/tty; while :; do sleep 0.1; done",
    );
    request.stdin = StreamMode::Descriptor;
    request.terminal = true;
    let mut client = Client::ask_with(&server, &request, &[slave.as_fd()]);
    client.wait_for_start();
    let mut terminal = File::from(master);
    let mut text = [0; 5];
    terminal.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"tty\r\n");
    client.cancel();
    client.finish();
    assert_eq!(server.read("told"), "hup\n");
}

#[test]
fn the_pidfd_of_the_leader_rides_on_started() {
    let server = Transport::Unix.server();
    let mut request = argv(&["sleep", "1000"]);
    request.pidfd = true;
    let mut client = Client::ask(&server, &request);
    let (bytes, fds) = client.connection.read_with_fds();
    client.session.receive_data(&bytes);
    assert!(matches!(client.next(), Some(ClientEvent::Started { .. })));
    let [pidfd] = &fds[..] else { panic!("{fds:?}") };
    rustix::process::pidfd_send_signal(pidfd, rustix::process::Signal::TERM).unwrap();
    assert_eq!(client.finish().exit().status.signal(), Some(15));
}

#[test]
fn what_clients_pass_cannot_exhaust_the_servers_descriptors() {
    let server = Transport::Unix.setup().shell("ulimit -n 100").start();
    let before = server.settled_fd_count();
    let null = File::open("/dev/null").unwrap();
    let fds = vec![null.as_fd(); 16];
    let mut unfinished: Vec<_> = (0..10)
        .map(|_| {
            let client = Client::open(&server);
            client.connection.send_with_fds(&[1, 0, 1], &fds);
            client
        })
        .collect();
    poll_until(|| server.fd_count() < before + 10 + 25);
    let mut request = argv(&["true"]);
    request.fds = (3..19).collect();
    let told = Client::ask_with(&server, &request, &fds).finish();
    assert_eq!(told.refusal().kind, RefusalKind::Busy);
    assert_eq!(Client::run(&server, &argv(&["echo", "hi"])).out(), "hi\n");
    unfinished.clear();
    poll_until(|| server.fd_count() == before);
    assert_eq!(Client::ask_with(&server, &request, &fds).finish().code(), 0);
}

fn run_with_two(server: &TestServer) -> u8 {
    let null = File::open("/dev/null").unwrap();
    let mut request = argv(&["true"]);
    request.fds = vec![3, 4];
    let fds = [null.as_fd(), null.as_fd()];
    Client::ask_with(server, &request, &fds).finish().code()
}
