//! All pipes are pumped at once, with any sizes.

use std::time::Duration;

use crate::support::{Reply, Transport, on_both_transports, request};

on_both_transports!(
    fifty_mib_go_through_cat,
    ten_mib_on_each_stream_in_turns_are_no_deadlock,
    stderr_before_stdout_is_no_deadlock,
    stdout_before_stdin_is_no_deadlock,
    unread_stdin_leaves_the_status,
    unread_stdin_is_taken_from_a_client_that_writes_before_it_reads,
    unread_stdin_of_any_size_is_taken,
    stdin_of_a_command_that_ends_early_is_drained,
    an_unread_trailing_newline_does_not_reset_the_connection,
    bytes_past_the_request_do_not_cut_a_large_answer,
    bytes_that_come_during_the_answer_do_not_cut_it,
    a_client_that_half_closes_after_its_request_gets_the_whole_answer,
    a_slow_reader_gets_the_whole_answer,
    two_gib_of_stdin_are_counted_not_kept,
    packets_of_a_pipe_in_packet_mode_are_whole,
);

const MIB: usize = 1 << 20;

fn fifty_mib_go_through_cat(on: Transport) {
    let stdin = noise(50 * MIB);
    assert_eq!(
        on.server().run_with("cat", &stdin),
        Reply::new(0, &stdin, "")
    );
}

fn ten_mib_on_each_stream_in_turns_are_no_deadlock(on: Transport) {
    let command = "i=0; while [ $i -lt 160 ]; do head -c 65536; head -c 65536 /dev/zero >&2; i=$((i+1)); done; exit 4";
    let stdin = noise(10 * MIB);
    let reply = on.server().run_with(command, &stdin);
    assert_eq!(reply, Reply::new(4 << 8, stdin, vec![0; 10 * MIB]));
}

fn stderr_before_stdout_is_no_deadlock(on: Transport) {
    let reply = on.server().run("head -c 10485760 /dev/zero >&2; echo out");
    assert_eq!(reply, Reply::new(0, "out\n", vec![0; 10 * MIB]));
}

fn stdout_before_stdin_is_no_deadlock(on: Transport) {
    let stdin = noise(3 * MIB);
    let reply = on
        .server()
        .run_with("head -c 10485760 /dev/zero; cat >&2", &stdin);
    assert_eq!(reply, Reply::new(0, vec![0; 10 * MIB], stdin));
}

fn unread_stdin_leaves_the_status(on: Transport) {
    let server = on.server();
    for command in [
        "exit 3",
        "exec <&-; sleep 0.2; exit 3",
        "sleep 0.2; exit 3",
        "head -c 1 >/dev/null; exit 3",
    ] {
        for size in [1, 4096, 200_000, 4 * MIB] {
            assert_eq!(
                server.run_with(command, vec![7; size]),
                Reply::new(3 << 8, "", ""),
                "{command}, {size}"
            );
        }
    }
}

fn unread_stdin_is_taken_from_a_client_that_writes_before_it_reads(on: Transport) {
    let server = on.server();
    for command in ["echo out; exit 3", "exec <&-; sleep 0.2; echo out; exit 3"] {
        let mut connection = server.send(request(command, vec![7; 10 * MIB]));
        assert_eq!(
            connection.read_last_reply(),
            Reply::new(3 << 8, "out\n", "")
        );
    }
}

fn unread_stdin_of_any_size_is_taken(on: Transport) {
    let server = on.server();
    for command in ["exit 3", "exec <&-; sleep 1; exit 3"] {
        let size = 300 * MIB;
        let mut connection = server.send(format!("{command}\r\n{size}\r\n"));
        for _ in 0..300 {
            connection.send(vec![7; MIB]);
        }
        assert_eq!(connection.read_last_reply(), Reply::new(3 << 8, "", ""));
    }
}

/// The client has announced more than it has sent when its command is over.
fn stdin_of_a_command_that_ends_early_is_drained(on: Transport) {
    let server = on.server();
    let mut connection = server.send("exit 3\r\n100000\r\nthe first of them");
    assert_eq!(connection.read_reply(), Reply::new(3 << 8, "", ""));
}

fn an_unread_trailing_newline_does_not_reset_the_connection(on: Transport) {
    let server = on.server();
    for extra in ["\n", "\r\n", "echo two\r\n0\r\n"] {
        for _ in 0..20 {
            assert_eq!(
                Reply::parse(&server.exchange(format!("echo one\r\n0\r\n{extra}"))),
                Reply::new(0, "one\n", "")
            );
        }
    }
}

fn bytes_past_the_request_do_not_cut_a_large_answer(on: Transport) {
    let server = on.server();
    let extra = "x".repeat(50_000);
    let reply =
        Reply::parse(&server.exchange(format!("head -c 16777216 /dev/zero\r\n0\r\n{extra}")));
    assert_eq!(reply, Reply::new(0, vec![0; 16 * MIB], ""));
}

fn bytes_that_come_during_the_answer_do_not_cut_it(on: Transport) {
    let server = on.server();
    let mut connection = server.send("head -c 16777216 /dev/zero\r\n0\r\n");
    let mut answer = connection.read_exactly(MIB);
    connection.send("\n");
    answer.extend(connection.read_to_end());
    assert_eq!(Reply::parse(&answer), Reply::new(0, vec![0; 16 * MIB], ""));
}

fn a_client_that_half_closes_after_its_request_gets_the_whole_answer(on: Transport) {
    let server = on.server();
    let mut connection = server.send("head -c 16777216 /dev/zero\r\n0\r\n\n");
    connection.half_close();
    assert_eq!(
        connection.read_last_reply(),
        Reply::new(0, vec![0; 16 * MIB], "")
    );
}

fn a_slow_reader_gets_the_whole_answer(on: Transport) {
    let server = on.server();
    let mut connection = server.send("head -c 8388608 /dev/zero; echo err >&2\r\n0\r\n");
    let mut answer = Vec::new();
    for _ in 0..64 {
        answer.extend(connection.read_exactly(1000));
        std::thread::sleep(Duration::from_millis(5));
    }
    answer.extend(connection.read_to_end());
    assert_eq!(
        Reply::parse(&answer),
        Reply::new(0, vec![0; 8 * MIB], "err\n")
    );
}

fn two_gib_of_stdin_are_counted_not_kept(on: Transport) {
    let server = on.server();
    let count = 2_u64 << 30;
    let mut connection = server.send(format!("head -c 67108864 | wc -c; exit 2\r\n{count}\r\n"));
    // The command takes 64 MiB and leaves: the rest need not even be sent.
    let chunk = vec![0; MIB];
    while connection.is_silent_for(Duration::ZERO) && connection.try_send(&chunk).is_ok() {}
    let reply = connection.read_reply();
    assert_eq!(
        (reply.status, reply.out().trim().to_owned()),
        (512, "67108864".to_owned())
    );
}

/// What of a packet a read has no room for is lost (pipe(2), `O_DIRECT`).
fn packets_of_a_pipe_in_packet_mode_are_whole(on: Transport) {
    let command = "dd if=/dev/zero bs=100 count=30000 oflag=direct status=none";
    let reply = on.server().run(command);
    assert_eq!(reply, Reply::new(0, vec![0; 3_000_000], ""));
}

/// Bytes without a period that a lost, doubled or moved block would keep.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
