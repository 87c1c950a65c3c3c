//! A server that is killed: no command takes that for the end of its input.

use std::fs;

use rustix::process::Signal;

use sockproc_core::proto::Millis;

use crate::native::client::{Client, line};
use crate::support::{
    A_WHILE, Connection, Doomed, Reply, TestServer, Transport, descendants, is_alive, marked,
    on_both_transports, poll_until, send_signal, settled, state_of,
};

on_both_transports!(
    no_command_with_half_of_its_stdin_completes,
    no_builtin_runs_after_half_of_the_stdin,
    no_command_completes_beside_1000_connections,
);

const RUNS: usize = 50;

fn no_command_with_half_of_its_stdin_completes(on: Transport) {
    let server = on.server();
    let _clients = half_fed(&server, |number| {
        format!("cat > t{number}; mv t{number} done{number}")
    });
    nothing_is_done_after_kill_9(server);
}

fn no_builtin_runs_after_half_of_the_stdin(on: Transport) {
    let server = on.server();
    let _clients = half_fed(&server, |number| {
        format!("read x; echo $x > done{number}; cat > t{number} && echo > done{number}")
    });
    nothing_is_done_after_kill_9(server);
}

/// More to close takes longer, and the commands have that time.
fn no_command_completes_beside_1000_connections(on: Transport) {
    let server = on.server();
    let _connections: Vec<_> = (0..1000).map(|_| server.connect()).collect();
    let _clients = half_fed(&server, |number| {
        format!("cat > t{number} && echo > done{number}")
    });
    nothing_is_done_after_kill_9(server);
}

/// The kernel closes what a process has open when its last thread ends, and that may be before it kills
/// commands. Here the process that keeps stdin open stands still, and with it that moment.
#[test]
fn stdin_ends_only_after_the_server_and_its_commands_have() {
    let mut server = Transport::Unix.server();
    let _client = server.send("echo $$ > pid; cat > t; echo > done\r\n10\r\nabcd");
    let leader: u32 = server.wait_for("pid").trim().parse().unwrap();
    poll_until(|| server.read("t") == "abcd" && guard(&server).is_some());
    let (guard, cat) = (Doomed(guard(&server).unwrap()), descendants(leader)[0]);
    send_signal(guard.0, Signal::STOP);
    poll_until(|| state_of(guard.0) == Some('T'));
    server.signal(Signal::KILL);
    server.wait();
    poll_until(|| !is_alive(leader));
    assert!(settled(20, || is_alive(cat)));
    send_signal(guard.0, Signal::CONT);
    poll_until(|| !is_alive(cat) && !is_alive(guard.0));
    assert!(!server.path("done").exists());
}

#[test]
fn the_process_that_keeps_stdin_open_is_there_only_while_stdin_is_awaited() {
    let server = Transport::Unix.server();
    assert_eq!(server.run_with("cat", "whole"), Reply::new(0, "whole", ""));
    let fds = server.settled_fd_count();
    for _ in 0..2 {
        let mut client = server.send("cat\r\n2\r\na");
        poll_until(|| guard(&server).is_some());
        // Only SIGKILL ends it.
        send_signal(guard(&server).unwrap(), Signal::TERM);
        std::thread::sleep(A_WHILE);
        assert!(guard(&server).is_some());
        client.send("b");
        assert_eq!(client.read_last_reply(), Reply::new(0, "ab", ""));
        drop(client);
        poll_until(|| descendants(server.pid()).is_empty() && server.fd_count() == fds);
    }
}

#[test]
fn it_is_there_while_stdin_waits_in_a_full_pipe() {
    let server = Transport::Unix.server();
    let mut client = Client::ask(&server, &line("exec sleep 1000"));
    client.wait_for_start();
    let mut sent = 0;
    // More than the pipe takes, and nothing is awaited.
    while sent < 80 * 1024 {
        if client.session.stdin_credit() == 0 {
            client.next_or_credit();
        }
        let len = client.session.stdin_credit().min(16 * 1024);
        client.send_stdin(vec![b'x'; len]);
        sent += len;
    }
    client.end_stdin();
    poll_until(|| guard(&server).is_some());
    assert!(settled(20, || guard(&server).is_some()));
}

#[test]
fn it_is_there_while_the_run_of_a_client_that_has_gone_is_ended() {
    let server = Transport::Unix.server();
    let mut request = line("trap '' TERM; echo up > up; while :; do sleep 0.1; done");
    request.limits.grace = Millis::new(60_000);
    let client = Client::ask(&server, &request);
    server.wait_for("up");
    client.connection.vanish();
    poll_until(|| server.connections() == 0 || guard(&server).is_some());
    assert!(settled(20, || guard(&server).is_some()));
}

/// What is killed by itself is started again.
#[test]
fn the_process_that_keeps_stdin_open_can_be_killed() {
    let server = Transport::Unix.server();
    let mut client = server.send("cat\r\n2\r\na");
    poll_until(|| guard(&server).is_some());
    let first = guard(&server).unwrap();
    send_signal(first, Signal::KILL);
    poll_until(|| guard(&server).is_some_and(|pid| pid != first));
    client.send("b");
    assert_eq!(client.read_last_reply(), Reply::new(0, "ab", ""));
}

/// The process that shares the server's descriptors.
fn guard(server: &TestServer) -> Option<u32> {
    descendants(server.pid())
        .into_iter()
        .find(|pid| {
            fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|name| name == "stdin-guard\n")
        })
        .filter(|&pid| is_alive(pid))
}

fn half_fed(server: &TestServer, command: impl Fn(usize) -> String) -> Vec<Connection> {
    let mark = mark(server);
    let clients: Vec<_> = (0..RUNS)
        .map(|number| {
            let command = command(number);
            let run = format!("SOCKPROC_TEST_MARK={mark} exec sh -c 'echo > s{number}; {command}'");
            server.send(format!("{run}\r\n10\r\nabcd"))
        })
        .collect();
    poll_until(|| (0..RUNS).all(|number| server.path(&format!("s{number}")).exists()));
    clients
}

fn nothing_is_done_after_kill_9(mut server: TestServer) {
    let mark = mark(&server);
    let pids = marked(&mark);
    assert!(pids.len() >= RUNS);
    server.signal(Signal::KILL);
    server.wait();
    poll_until(|| !pids.iter().any(|&pid| is_alive(pid)));
    let files = std::fs::read_dir(server.dir.path()).unwrap().flatten();
    let names = files.map(|file| file.file_name().into_string().unwrap());
    let done: Vec<_> = names.filter(|name| name.starts_with("done")).collect();
    assert!(done.is_empty(), "{done:?}");
}

fn mark(server: &TestServer) -> String {
    format!("fed.{}", server.pid())
}
