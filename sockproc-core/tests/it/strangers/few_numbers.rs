//! The same where numbers for descriptors are short.

use std::fs::File;
use std::os::fd::AsFd;
use std::time::Instant;

use rustix::process::Signal;
use sockproc_core::proto::opening::OPENING;

use super::{LINGER, Lingering, answers_at_once, while_stopped};
use crate::native::client::{Client, line};
use crate::support::{MAX_FDS, Reply, TestServer, Transport, cpu_time, poll_until, settled};

#[test]
fn a_lingering_socket_among_more_than_there_are_numbers_for_holds_up_no_other() {
    let server = Transport::Unix.setup().shell("ulimit -n 64").start();
    let before = server.settled_fd_count();
    let mut lingering = Lingering::new();
    let null = File::open("/dev/null").unwrap();
    let mut clients = Vec::new();
    for begin in ["ec", "cat\r\n5\r\nab", "#sockproc/2\r\n0\r\n\x01"] {
        for _ in 0..3 {
            let [read, unread] = [(); 2].map(|()| server.connect());
            while_stopped(&server, || {
                for client in [&read, &unread] {
                    let socket = lingering.socket();
                    let mut fds = vec![null.as_fd(); MAX_FDS - 1];
                    fds.push(socket.as_fd());
                    client.send_with_fds(begin.as_bytes(), &fds);
                }
                drop(unread);
            });
            clients.push(read);
            answers_at_once(&server);
        }
    }
    drop((clients, lingering));
    poll_until(|| server.fd_count() == before);
}

#[test]
fn idle_connections_give_way_where_descriptors_whose_closing_hangs_have_the_numbers() {
    let server = Transport::Unix.setup().shell("ulimit -n 64").start();
    let before = server.settled_fd_count();
    let mut lingering = Lingering::new();
    let client = server.connect();
    while_stopped(&server, || {
        let sockets: Vec<_> = (0..20).map(|_| lingering.in_a_socket()).collect();
        let fds: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
        client.send_with_fds(b"ec", &fds);
    });
    poll_until(|| server.fd_count() > before + 10);
    let _idle: Vec<_> = (0..60).map(|_| server.send("ec")).collect();
    for _ in 0..10 {
        answers_at_once(&server);
    }
    drop((client, lingering));
    poll_until(|| server.connections() < 40);
}

#[test]
fn a_client_that_has_ended_its_request_takes_no_time_while_its_descriptors_wait() {
    let mut server = Transport::Unix.setup().shell("ulimit -n 64").start();
    let mut lingering = Lingering::new();
    let null = File::open("/dev/null").unwrap();
    let native = [OPENING, b"\x01"].concat();
    let clients: Vec<_> = [b"ec", &native[..]].map(|begin| server.send(begin)).into();
    while_stopped(&server, || {
        for client in &clients {
            let socket = lingering.socket();
            let mut fds = vec![null.as_fd(); MAX_FDS - 1];
            fds.push(socket.as_fd());
            client.send_with_fds(b"\0", &fds);
            client.half_close();
        }
    });
    answers_at_once(&server);
    let begin = Instant::now();
    // A spinning thread never lets it stand still for so long.
    settled(30, || cpu_time(server.pid()));
    server.signal(Signal::TERM);
    server.wait();
    assert!(begin.elapsed() < LINGER / 2, "{:?}", begin.elapsed());
}

#[test]
fn a_request_with_descriptors_that_comes_before_the_end_is_answered_where_numbers_are_short() {
    let mut server = Transport::Unix.setup().shell("ulimit -n 64").start();
    let null = File::open("/dev/null").unwrap();
    let mut clients = Vec::new();
    while_stopped(&server, || {
        for _ in 0..5 {
            let client = server.connect();
            client.send_with_fds(b"echo hi\r\n0\r\n", &[null.as_fd()]);
            clients.push(client);
        }
        server.signal(Signal::TERM);
    });
    for client in &mut clients {
        assert_eq!(client.read_last_reply(), Reply::new(0, "hi\n", ""));
    }
    server.wait();
}

#[test]
fn a_command_gets_its_descriptors_where_numbers_are_short() {
    let server = Transport::Unix.setup().shell("ulimit -n 64").start();
    let before = server.settled_fd_count();
    let null = File::open("/dev/null").unwrap();
    let fds = [null.as_fd(); 16];
    for descriptors in [1, 3, 16] {
        let mut request = line("exec wc -c");
        request.fds = (10..10 + descriptors).collect();
        let fds = &fds[..descriptors as usize];
        let mut client = Client::ask_with(&server, &request, fds);
        // Bytes beside descriptors that no one asked for are the command's.
        for _ in 0..10 {
            let [header, data] = client.session.send_stdin("x".repeat(1000).into()).unwrap();
            client.connection.send_with_fds(&header, fds);
            client.connection.send_with_fds(&data, fds);
        }
        client.end_stdin();
        let told = client.finish();
        assert_eq!((told.code(), told.out().trim()), (0, "10000"));
    }
    poll_until(|| server.fd_count() == before);
}

#[test]
fn a_flood_of_descriptors_leaves_a_server_with_few_of_them_alive() {
    let server = Transport::Unix.setup().shell("ulimit -n 64").start();
    let file = File::open("/dev/null").unwrap();
    let fds = vec![file.as_fd(); MAX_FDS];
    let flood = |server: &TestServer| {
        let client = server.connect();
        client.send_with_fds(b"sleep 1000", &fds);
        client
    };
    let _clients: Vec<_> = (0..20).map(|_| flood(&server)).collect();
    for _ in 0..50 {
        drop(flood(&server));
        assert_eq!(server.run("echo hi"), Reply::new(0, "hi\n", ""));
    }
}
