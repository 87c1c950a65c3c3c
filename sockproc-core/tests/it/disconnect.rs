//! Clients that give their runs up: with a server that is told to end such runs, and with one that is not.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::support::{
    Connection, TestServer, Transport, is_alive, on_both_transports, poll_until, request, settled,
};

on_both_transports!(
    a_command_that_has_not_read_its_stdin_is_ended,
    a_queued_request_whose_client_has_gone_is_not_started,
);

fn a_command_that_has_not_read_its_stdin_is_ended(on: Transport) {
    let server = killing(on).start();
    for len in [0, 1, 70_000, 200_000] {
        let mut client = server.send(format!("echo $$ > pid; exec sleep 1000\r\n{len}\r\n"));
        client.send(vec![b'x'; len]);
        let pid = server.wait_for("pid").trim().parse().unwrap();
        std::fs::remove_file(server.path("pid")).unwrap();
        client.vanish();
        poll_until(|| !is_alive(pid));
    }
}

#[test]
fn a_command_whose_client_still_sends_is_ended() {
    let server = killing(Transport::Unix).start();
    let client = server.send("echo $$ > pid; exec sleep 1000\r\n400000\r\n");
    client.send_beside(vec![b'x'; 400_000]);
    let pid = server.wait_for("pid").trim().parse().unwrap();
    client.vanish_for_all();
    poll_until(|| !is_alive(pid));
}

fn a_queued_request_whose_client_has_gone_is_not_started(on: Transport) {
    let server = killing(on).shell("ulimit -n 64").start();
    let command = |number| request(format!("echo {number} >> started; exec sleep 1000"), "");
    nothing_queued_is_started(&server, command);
}

/// A whole request is run even if its client has gone. This one is not whole.
#[test]
fn a_queued_request_that_was_cut_is_not_started() {
    let server = Transport::Unix.setup().shell("ulimit -n 64").start();
    let command =
        |number| format!("echo {number} >> started; exec sleep 1000\r\n10\r\nx").into_bytes();
    nothing_queued_is_started(&server, command);
}

#[test]
fn a_queued_request_that_is_whole_is_started_though_its_client_has_gone() {
    let server = Transport::Unix
        .setup()
        .shell("ulimit -n 64; mkfifo fifo")
        .start();
    let clients = crowd(&server, |number| {
        request(format!("echo {number} >> started; cat fifo"), "")
    });
    assert!((1..CLIENTS).contains(&started(&server).len()));
    clients.into_iter().for_each(Connection::vanish);
    poll_until(|| {
        end_readers(&server.path("fifo"));
        server.read("started").lines().count() == CLIENTS
    });
}

/// Lets those end that read from a fifo, if there are any.
fn end_readers(fifo: &Path) {
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let mut options = OpenOptions::new();
    match options.write(true).custom_flags(nonblocking).open(fifo) {
        Ok(writer) => drop(writer),
        Err(error) => assert_eq!(error.raw_os_error(), Some(Errno::NXIO.raw_os_error())),
    }
}

const CLIENTS: usize = 20;

#[track_caller]
fn nothing_queued_is_started(server: &TestServer, command: impl Fn(usize) -> Vec<u8>) {
    let clients = crowd(server, command);
    let started = started(server);
    assert!((1..CLIENTS).contains(&started.len()), "{started:?}");
    let (running, queued): (Vec<_>, Vec<_>) = clients
        .into_iter()
        .enumerate()
        .partition(|(number, _)| started.contains(number));
    queued.into_iter().for_each(|(_, client)| client.vanish());
    poll_until(|| server.connections() == started.len());
    // A late one may have been started while its client was still there.
    let before = server.read("started").lines().count();
    running.into_iter().for_each(|(_, client)| client.vanish());
    assert_eq!(server.run("echo hi").out(), "hi\n");
    assert_eq!(
        settled(20, || server.read("started").lines().count()),
        before
    );
}

/// Clients that were all accepted before any command takes its descriptors.
fn crowd(server: &TestServer, command: impl Fn(usize) -> Vec<u8>) -> Vec<Connection> {
    let before = server.settled_fd_count();
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| server.connect()).collect();
    poll_until(|| server.fd_count() == before + CLIENTS);
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(command(number));
    }
    clients
}

/// The numbers of those that have been started, once no more are.
fn started(server: &TestServer) -> Vec<usize> {
    server.wait_for("started");
    settled(200, || server.read("started"))
        .lines()
        .map(|line| line.parse().unwrap())
        .collect()
}

fn killing(on: Transport) -> crate::support::Setup {
    on.setup()
        .serve(["--classic-on-disconnect", "kill", "--grace", "300"])
}
