//! Replies that are not read: together they take no more memory than they may.

use crate::support::{
    Connection, DEADLINE, Reply, TestServer, Transport, descendants, memory_kib,
    on_both_transports, poll_until, request,
};

const MIB: usize = 1 << 20;

on_both_transports!(
    replies_that_are_not_read_stay_within_their_memory_and_lose_no_byte,
    a_server_that_is_refused_memory_lives_and_answers,
    many_small_replies_that_are_not_read_stay_within_their_memory,
    without_memory_for_replies_every_byte_arrives,
);

fn replies_that_are_not_read_stay_within_their_memory_and_lose_no_byte(on: Transport) {
    let server = on.server();
    let unread = leave_unread(&server, 121);
    let peak = memory_kib(server.pid(), "VmHWM");
    assert!(peak < 96 << 10, "{peak} KiB");
    all_arrive(unread);
}

fn a_server_that_is_refused_memory_lives_and_answers(on: Transport) {
    let server = on.setup().shell("ulimit -v 600000").start();
    let unread = leave_unread(&server, 174);
    assert_eq!(server.run("echo hi"), Reply::new(0, "hi\n", ""));
    all_arrive(unread);
}

fn many_small_replies_that_are_not_read_stay_within_their_memory(on: Transport) {
    let server = on.setup().serve(["--reply-memory", "4M"]).start();
    let command = request("head -c 400000 /dev/zero", "");
    let unread: Vec<_> = (0..100).map(|_| server.send(&command)).collect();
    poll_until(|| descendants(server.pid()).is_empty());
    let peak = memory_kib(server.pid(), "VmHWM");
    assert!(peak < 32 << 10, "{peak} KiB");
    for mut connection in unread {
        let reply = connection.read_last_reply();
        assert_eq!((reply.status, reply.stdout.len()), (0, 400_000));
    }
}

fn without_memory_for_replies_every_byte_arrives(on: Transport) {
    let server = on.setup().serve(["--reply-memory", "0"]).start();
    let numbers: Vec<u8> = (0..300_000)
        .flat_map(|n| format!("{n}\n").into_bytes())
        .collect();
    for _ in 0..4 {
        let reply = server.run_with("tee /dev/stderr", &numbers);
        assert!(reply == Reply::new(0, &numbers, &numbers));
    }
    assert_eq!(server.run("echo hi"), Reply::new(0, "hi\n", ""));
}

/// Sends commands that print a MiB on each stream, and waits until they have.
#[track_caller]
fn leave_unread(server: &TestServer, count: usize) -> Vec<Connection> {
    let command = format!("head -c {MIB} /dev/zero; head -c {MIB} /dev/zero >&2");
    let command = request(command, "");
    let unread: Vec<_> = (0..count).map(|_| server.send(&command)).collect();
    for connection in &unread {
        assert!(!connection.is_silent_for(DEADLINE));
    }
    poll_until(|| descendants(server.pid()).is_empty());
    unread
}

#[track_caller]
fn all_arrive(unread: Vec<Connection>) {
    for mut connection in unread {
        let zeros = vec![0; MIB];
        assert!(connection.read_last_reply() == Reply::new(0, &zeros, &zeros));
    }
}
