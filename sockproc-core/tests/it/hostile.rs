//! Clients that break off, babble or never end: the server and its other commands do not notice.

use proptest::prelude::*;

use crate::support::{
    Reply, TestServer, Transport, memory_kib, on_both_transports, poll_until, request,
};

on_both_transports!(
    clients_that_vanish_at_each_byte_of_a_request_complete_nothing,
    clients_that_close_at_each_byte_of_a_request_leave_nothing,
    clients_that_vanish_at_each_byte_of_a_reply_leave_nothing,
    clients_that_vanish_inside_a_large_reply_leave_nothing,
    clients_that_vanish_while_they_send_a_large_stdin_leave_nothing,
    a_request_line_that_never_ends_is_refused_and_not_kept,
    a_count_line_that_never_ends_is_answered_and_not_kept,
    garbage_is_refused_and_the_server_lives_on,
    a_client_that_sends_for_ever_after_its_request_is_let_go,
);

fn clients_that_vanish_at_each_byte_of_a_request_complete_nothing(on: Transport) {
    let server = on.server();
    let idle = server.settled_fd_count();
    let bytes = request("cat > t && mv t ran # \n : and so on", "stdin\r\n\r\n.");
    for end in 0..bytes.len() {
        server.send(&bytes[..end]).vanish();
    }
    as_before(&server, idle);
    assert!(!server.path("ran").exists());
}

fn clients_that_close_at_each_byte_of_a_request_leave_nothing(on: Transport) {
    let server = on.server();
    let idle = server.settled_fd_count();
    // On TCP a plain close is a half-close, so some of these run: they do no harm.
    let bytes = request(": cat; cat; echo hello >&2; exit 3", "stdin\r\n\r\n.");
    for end in 0..=bytes.len() {
        drop(server.send(&bytes[..end]));
    }
    as_before(&server, idle);
}

fn clients_that_vanish_at_each_byte_of_a_reply_leave_nothing(on: Transport) {
    let server = on.server();
    let idle = server.settled_fd_count();
    let answer = server.exchange(request("echo hello; echo there >&2; exit 3", ""));
    for end in 0..=answer.len() {
        let mut connection = server.send(request("echo hello; echo there >&2; exit 3", ""));
        assert_eq!(connection.read_exactly(end), answer[..end]);
        connection.vanish();
    }
    as_before(&server, idle);
}

fn clients_that_vanish_inside_a_large_reply_leave_nothing(on: Transport) {
    let server = on.server();
    let idle = server.settled_fd_count();
    for end in [0, 1, 20, 65_536, 1 << 20, (4 << 20) + 5] {
        let mut connection = server.send(request(
            "head -c 8388608 /dev/zero; head -c 8388608 /dev/zero >&2",
            "",
        ));
        connection.read_exactly(end);
        connection.vanish();
    }
    as_before(&server, idle);
}

fn clients_that_vanish_while_they_send_a_large_stdin_leave_nothing(on: Transport) {
    let server = on.server();
    let idle = server.settled_fd_count();
    for command in [
        "cat >/dev/null; echo > ran",
        "sleep 1000; echo > ran",
        "exec <&-; sleep 1000; echo > ran",
    ] {
        for size in [1, 100_000, 150_000] {
            let mut connection = server.send(format!("{command}\r\n50000000\r\n"));
            connection.send(vec![0; size]);
            connection.vanish();
        }
    }
    as_before(&server, idle);
    assert!(!server.path("ran").exists());
}

fn a_request_line_that_never_ends_is_refused_and_not_kept(on: Transport) {
    let server = on.server();
    let before = memory_kib(server.pid(), "VmHWM");
    for _ in 0..4 {
        let mut connection = server.connect();
        let line = vec![b'x'; 1 << 20];
        // The server may close before it has read all 64 MiB, and on TCP an answer may then be lost.
        if (0..64).all(|_| connection.try_send(&line).is_ok()) {
            connection.half_close();
        }
    }
    // A client that waits for its answer once it has sent too much gets one.
    let mut connection = server.send(vec![b'x'; 140_000]);
    connection.read_last_reply().assert_refused(64 << 8);
    assert_eq!(server.run("echo still here").out(), "still here\n");
    let grown = memory_kib(server.pid(), "VmHWM") - before;
    assert!(grown < 16 << 10, "{grown} KiB");
}

fn a_count_line_that_never_ends_is_answered_and_not_kept(on: Transport) {
    let server = on.server();
    let before = memory_kib(server.pid(), "VmHWM");
    for filler in [b'0', b' ', b'x', b'9'] {
        let mut connection = server.send("echo > ran; true\r\n");
        let line = vec![filler; 1 << 20];
        if (0..16).all(|_| connection.try_send(&line).is_ok()) {
            connection.half_close();
        }
        let mut waiting = server.send("echo > ran; true\r\n");
        waiting.send(vec![filler; 10_000]);
        waiting.read_last_reply().assert_refused(64 << 8);
    }
    assert_eq!(server.run("echo still here").out(), "still here\n");
    assert!(!server.path("ran").exists());
    let grown = memory_kib(server.pid(), "VmHWM") - before;
    assert!(grown < 16 << 10, "{grown} KiB");
}

fn garbage_is_refused_and_the_server_lives_on(on: Transport) {
    let server = on.server();
    let idle = server.settled_fd_count();
    // Every line without a NUL is a command: garbage that is to do no harm begins with one.
    proptest!(ProptestConfig::with_cases(64), |(garbage: Vec<u8>, half_close: bool)| {
        let mut connection = server.send([&[0], garbage.as_slice()].concat());
        if half_close {
            connection.half_close();
        }
        connection.read_last_reply().assert_refused(64 << 8);
    });
    proptest!(ProptestConfig::with_cases(64), |(count in "[^\r\n]{0,60}", stdin: Vec<u8>)| {
        let mut connection = server.send(format!("true\r\n{count}\r\n"));
        let _ = connection.try_send(stdin);
        connection.half_close();
        prop_assert!(matches!(connection.read_last_reply().status, 0 | 16384));
    });
    as_before(&server, idle);
}

fn a_client_that_sends_for_ever_after_its_request_is_let_go(on: Transport) {
    let server = on.server();
    let idle = server.settled_fd_count();
    let mut connection = server.send(request("echo hi", ""));
    // It is not read for ever either: at some point a send fails.
    let chunk = vec![b'x'; 1 << 16];
    let mut sent = 0_u64;
    poll_until(|| {
        sent += chunk.len() as u64;
        connection.try_send(&chunk).is_err()
    });
    drop(connection);
    as_before(&server, idle);
}

/// The server answers, and comes back to as many descriptors and to no process.
#[track_caller]
fn as_before(server: &TestServer, idle: usize) {
    assert_eq!(
        server.run("echo still here"),
        Reply::new(0, "still here\n", "")
    );
    poll_until(|| {
        server.fd_count() <= idle && crate::support::descendants(server.pid()).is_empty()
    });
}
