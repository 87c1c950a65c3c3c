//! Requests that the C daemon cuts, garbles or takes for others.

use crate::support::{Reply, TestServer, Transport, on_both_transports, poll_until, request};

on_both_transports!(
    a_command_of_any_length_up_to_the_kernels_limit_is_whole,
    the_count_behind_a_long_command_is_read,
    a_command_longer_than_the_kernels_limit_is_refused,
    a_nul_in_the_command_is_refused_and_nothing_runs,
    a_tls_hello_is_refused,
    exactly_the_announced_bytes_reach_stdin,
    a_count_that_no_machine_holds_is_refused_by_its_digits,
    a_refused_request_is_drained,
);

const BAD_REQUEST: i32 = 64 << 8;
const CANNOT_SPAWN: i32 = 71 << 8;

/// Linux takes no argument of more than 131,072 bytes, its NUL included.
const LONGEST: usize = 131_071;

#[test]
fn on_tcp_an_http_request_line_is_refused_logged_and_nothing_runs() {
    let server = Transport::Tcp.server();
    let lines = [
        "GET /$(echo > ran) HTTP/1.1",
        "POST /;echo>ran; HTTP/1.0",
        "echo > ran; HTTP/2.0",
        "echo > ran\n HTTP/9.9",
    ];
    for line in lines {
        let web = format!("{line}\r\nHost: 127.0.0.1\r\nContent-Length: 3\r\n\r\nabc");
        Reply::parse(&server.exchange(web)).assert_refused(BAD_REQUEST);
    }
    // A line that only looks alike shows that the others had the time to run.
    assert_eq!(server.run("echo still here").out(), "still here\n");
    assert!(!server.path("ran").exists());
    poll_until(|| server.log().lines().count() >= lines.len());
}

#[test]
fn on_tcp_what_only_looks_like_http_is_a_command() {
    let server = Transport::Tcp.server();
    let alike = [
        "echo HTTP/1.1 ",
        "echo xHTTP/1.1",
        "echo HTTP/1.1x",
        "echo HTTP/1",
        "echo HTTP/1.",
        "echo HTTP/.1",
        "echo http/1.1",
        "echo HTTP/11.1",
        "echo HTTP/1.10",
        "echo HTTP/a.b",
        "echo\tHTTP/1.1",
        "echo HTTP/1.1\n",
    ];
    for command in alike {
        let printed = command.trim_start_matches("echo").trim();
        assert_eq!(server.run(command).out(), format!("{printed}\n"));
    }
}

#[test]
fn on_a_unix_socket_an_http_request_line_is_a_command() {
    let server = Transport::Unix.server();
    assert_eq!(server.run("echo HTTP/1.1").out(), "HTTP/1.1\n");
}

fn a_command_of_any_length_up_to_the_kernels_limit_is_whole(on: Transport) {
    let server = on.server();
    let edges = (2038..2052).chain([
        4093,
        4096,
        8192,
        65_535,
        65_536,
        65_537,
        131_000,
        LONGEST - 1,
        LONGEST,
    ]);
    for length in edges {
        let word = "x".repeat(length - ": ''; echo ${#1} $#".len());
        let command = format!(": '{word}'; echo ${{#1}} $#");
        assert_eq!(command.len(), length);
        assert_eq!(
            server.run(&command),
            Reply::new(0, "0 0\n", ""),
            "{length} bytes"
        );
    }
    let tail = "cat /proc/$$/cmdline; :";
    let command = format!(": {}; {tail}", "y".repeat(LONGEST - tail.len() - 4));
    assert_eq!(
        server.run(&command).out(),
        format!("/bin/sh\0-c\0{command}\0")
    );
}

fn the_count_behind_a_long_command_is_read(on: Transport) {
    let server = on.server();
    for length in [2039, 2040, 2041, 2045, 2046, 2047, 2048, 20_000] {
        let command = format!("cat #{}", "x".repeat(length - 5));
        assert_eq!(
            server.run_with(command, "stdin"),
            Reply::new(0, "stdin", ""),
            "{length} bytes"
        );
    }
}

fn a_command_longer_than_the_kernels_limit_is_refused(on: Transport) {
    let server = on.server();
    for length in [LONGEST + 1, LONGEST + 2, 200_000, 1 << 20] {
        let command = format!("echo > ran; : {}", "x".repeat(length - 14));
        let reply = server.run(&command);
        reply.assert_refused(if reply.status == CANNOT_SPAWN {
            CANNOT_SPAWN
        } else {
            BAD_REQUEST
        });
        assert!(reply.err().contains("131071"), "{reply:?}");
    }
    nothing_ran(&server);
}

fn a_nul_in_the_command_is_refused_and_nothing_runs(on: Transport) {
    let server = on.server();
    for command in [
        "echo > ran\0",
        "echo > ran;\0echo > ran",
        "\0echo > ran",
        "\0",
    ] {
        Reply::parse(&server.exchange(format!("{command}\r\n0\r\n"))).assert_refused(BAD_REQUEST);
        // One that never sends its CRLF is not waited for.
        Reply::parse(&server.exchange(command)).assert_refused(BAD_REQUEST);
        let mut half_closed = server.send(command);
        half_closed.half_close();
        half_closed.read_last_reply().assert_refused(BAD_REQUEST);
    }
    nothing_ran(&server);
}

fn a_tls_hello_is_refused(on: Transport) {
    let server = on.server();
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and 32 bytes of noise, then ciphers \x13\x01";
    Reply::parse(&server.exchange(hello)).assert_refused(BAD_REQUEST);
}

fn exactly_the_announced_bytes_reach_stdin(on: Transport) {
    let server = on.server();
    for (count, stdin) in [(0, ""), (1, "a"), (3, "abc"), (5, "abcde")] {
        let answer = server.exchange(format!("cat\r\n{count}\r\nabcdefgh\r\n"));
        assert_eq!(
            Reply::parse(&answer),
            Reply::new(0, stdin, ""),
            "{count} announced"
        );
        let mut half_closed = server.send(format!("cat\r\n{count}\r\nabcdefgh\r\n"));
        half_closed.half_close();
        assert_eq!(
            half_closed.read_last_reply(),
            Reply::new(0, stdin, ""),
            "{count} announced"
        );
    }
}

fn a_count_that_no_machine_holds_is_refused_by_its_digits(on: Transport) {
    let server = on.server();
    for count in [
        "18446744073709551616",
        "18446744073709551615",
        "9223372036854775808",
        &"9".repeat(100),
    ] {
        let reply = Reply::parse(&server.exchange(format!("echo > ran\r\n{count}\r\n")));
        reply.assert_refused(BAD_REQUEST);
        assert!(reply.err().contains(&count[..18]), "{reply:?}");
    }
    nothing_ran(&server);
    // The largest number that is one is no reason to allocate it.
    let mut connection = server.send("head -c 2; exit 1\r\n9223372036854775807\r\nab");
    assert_eq!(connection.read_reply(), Reply::new(256, "ab", ""));
}

fn a_refused_request_is_drained(on: Transport) {
    let server = on.server();
    for _ in 0..10 {
        let mut connection = server.send(request("echo \0", vec![b'x'; 300_000]));
        connection.read_last_reply().assert_refused(BAD_REQUEST);
    }
}

fn nothing_ran(server: &TestServer) {
    assert_eq!(server.run("echo still here").out(), "still here\n");
    assert!(!server.path("ran").exists());
}
