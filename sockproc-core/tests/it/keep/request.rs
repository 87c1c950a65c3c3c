//! How a request is read.

use std::time::Duration;

use proptest::prelude::*;

use crate::support::{Reply, TestServer, Transport, on_both_transports, poll_until, request};

on_both_transports!(
    a_lone_lf_inside_the_command_is_part_of_the_script,
    a_lone_cr_inside_the_command_is_part_of_the_script,
    a_here_document_works,
    the_first_crlf_ends_the_command,
    the_shell_gets_the_command_byte_for_byte_as_its_one_argument,
    a_command_of_every_byte_arrives,
    a_command_that_begins_with_a_dash_is_an_option_to_the_shell,
    an_empty_command_succeeds,
    the_count_is_read_as_scanf_reads_it,
    a_half_close_instead_of_the_count_line_runs_the_command,
    a_half_close_without_any_crlf_runs_the_command,
    a_half_close_inside_the_count_line_runs_the_command,
    a_half_close_before_the_first_byte_runs_the_empty_command,
    less_stdin_than_announced_is_end_of_file,
    a_second_request_is_ignored,
    a_trailing_newline_is_ignored,
    the_command_starts_before_its_stdin_has_arrived,
    the_command_gets_its_stdin_as_it_comes,
    a_request_may_come_byte_by_byte,
    an_answer_does_not_depend_on_where_the_request_is_cut,
);

fn a_lone_lf_inside_the_command_is_part_of_the_script(on: Transport) {
    assert_eq!(
        on.server().run("echo one\n\necho two\n").out(),
        "one\ntwo\n"
    );
}

fn a_lone_cr_inside_the_command_is_part_of_the_script(on: Transport) {
    let server = on.server();
    assert_eq!(server.run("printf %s 'a\rb\r'").out(), "a\rb\r");
    assert_eq!(
        server.run("printf %s 'a\n\rb'; printf %s c\r").out(),
        "a\n\rbc\r"
    );
}

fn a_here_document_works(on: Transport) {
    let reply = on
        .server()
        .run("cat <<END; cat\nfirst $((1 + 1))\nEND\necho last");
    assert_eq!(reply.out(), "first 2\nlast\n");
}

fn the_first_crlf_ends_the_command(on: Transport) {
    let server = on.server();
    assert_eq!(
        Reply::parse(&server.exchange("echo 1\r\r\n0\r\n")).out(),
        "1\r\n"
    );
    assert_eq!(
        Reply::parse(&server.exchange("echo 2\r\n0\r\n")).out(),
        "2\n"
    );
}

fn the_shell_gets_the_command_byte_for_byte_as_its_one_argument(on: Transport) {
    let server = on.server();
    for command in [
        "cat /proc/$$/cmdline; :",
        " \t cat /proc/$$/cmdline; : \t ",
        "\ncat /proc/$$/cmdline; :\n\n",
    ] {
        assert_eq!(
            server.run(command).out(),
            format!("/bin/sh\0-c\0{command}\0")
        );
    }
}

fn a_command_of_every_byte_arrives(on: Transport) {
    // NUL cannot be said to execve, a quote ends the word, and CR before LF ends the line.
    let bytes: Vec<u8> = (1..=u8::MAX).rev().filter(|&byte| byte != b'\'').collect();
    let command = [b"printf %s '", bytes.as_slice(), b"'"].concat();
    assert_eq!(on.server().run(command), Reply::new(0, bytes, ""));
}

fn a_command_that_begins_with_a_dash_is_an_option_to_the_shell(on: Transport) {
    let server = on.server();
    for command in ["-e", "-c", "-", "--"] {
        let plain = std::process::Command::new("/bin/sh")
            .args(["-c", command])
            .output()
            .unwrap();
        let expected = Reply::new(
            plain.status.code().unwrap() << 8,
            plain.stdout,
            plain.stderr,
        );
        // The shell names itself by the path it was started by, here and there.
        assert_eq!(server.run(command), expected, "{command}");
    }
}

fn an_empty_command_succeeds(on: Transport) {
    assert_eq!(on.server().exchange("\r\n0\r\n"), b"status:0\r\n0\r\n0\r\n");
}

fn the_count_is_read_as_scanf_reads_it(on: Transport) {
    let server = on.server();
    let counts = [
        ("3", 3),
        (" 3", 3),
        ("\t \n\x0b\x0c3", 3),
        ("+3", 3),
        (" +003", 3),
        ("0000000000000000000000003", 3),
        ("3 ", 3),
        ("3abc", 3),
        ("3 4", 3),
        ("3.9", 3),
        ("3\r3", 3),
        ("3\n", 3),
        ("3e5", 3),
        ("", 0),
        (" ", 0),
        ("abc", 0),
        ("+", 0),
        ("+ 3", 0),
        ("+-3", 0),
        ("--3", 0),
        ("-", 0),
        ("-3", 0),
        ("-0", 0),
        ("x3", 0),
        ("0x3", 0),
        (",3", 0),
        ("\u{661}", 0),
    ];
    for (count, length) in counts {
        let mut connection = server.send(format!("cat\r\n{count}\r\n"));
        connection.send(&"abc"[..length]);
        let reply = connection.read_last_reply();
        assert_eq!(
            reply,
            Reply::new(0, &"abc"[..length], ""),
            "count {count:?}"
        );
    }
}

fn a_half_close_instead_of_the_count_line_runs_the_command(on: Transport) {
    assert_eq!(
        cut_short(&on.server(), "echo hi; cat\r\n"),
        Reply::new(0, "hi\n", "")
    );
}

fn a_half_close_without_any_crlf_runs_the_command(on: Transport) {
    let server = on.server();
    assert_eq!(
        cut_short(&server, "echo hi; cat"),
        Reply::new(0, "hi\n", "")
    );
    assert_eq!(cut_short(&server, "echo hi\n"), Reply::new(0, "hi\n", ""));
    assert_eq!(cut_short(&server, "echo hi\r"), Reply::new(0, "hi\r\n", ""));
}

fn a_half_close_inside_the_count_line_runs_the_command(on: Transport) {
    let server = on.server();
    for count in ["3", "3\r", "0", "abc"] {
        assert_eq!(
            cut_short(&server, &format!("echo hi; cat\r\n{count}")),
            Reply::new(0, "hi\n", "")
        );
    }
}

fn a_half_close_before_the_first_byte_runs_the_empty_command(on: Transport) {
    assert_eq!(cut_short(&on.server(), ""), Reply::new(0, "", ""));
}

fn less_stdin_than_announced_is_end_of_file(on: Transport) {
    let server = on.server();
    assert_eq!(
        cut_short(&server, "cat; echo end\r\n10\r\nabc"),
        Reply::new(0, "abcend\n", "")
    );
    assert_eq!(
        cut_short(&server, "cat; echo end\r\n10\r\n"),
        Reply::new(0, "end\n", "")
    );
}

fn a_second_request_is_ignored(on: Transport) {
    let server = on.server();
    let reply = server
        .send("echo one\r\n0\r\necho two\r\n0\r\n")
        .read_reply();
    assert_eq!(reply, Reply::new(0, "one\n", ""));
}

fn a_trailing_newline_is_ignored(on: Transport) {
    assert_eq!(
        on.server().send("cat\r\n0\r\n\n").read_reply(),
        Reply::new(0, "", "")
    );
}

fn the_command_starts_before_its_stdin_has_arrived(on: Transport) {
    let server = on.server();
    let mut connection = server.send("echo yes > started; cat\r\n5\r\n");
    server.wait_for("started");
    connection.send("hello");
    assert_eq!(connection.read_last_reply(), Reply::new(0, "hello", ""));
}

fn the_command_gets_its_stdin_as_it_comes(on: Transport) {
    let server = on.server();
    let mut connection = server.send("tee got\r\n9\r\n");
    for (part, so_far) in [("one", "one"), ("two", "onetwo"), ("end", "onetwoend")] {
        connection.send(part);
        poll_until(|| server.read("got") == so_far);
    }
    assert_eq!(connection.read_last_reply(), Reply::new(0, "onetwoend", ""));
}

fn a_request_may_come_byte_by_byte(on: Transport) {
    let server = on.server();
    let mut connection = server.connect();
    for byte in request("echo \r start; cat", "a\r\nb") {
        connection.send([byte]);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(
        connection.read_last_reply(),
        Reply::new(0, "\r start\na\r\nb", "")
    );
}

fn an_answer_does_not_depend_on_where_the_request_is_cut(on: Transport) {
    let server = on.server();
    let bytes = request("echo one\necho two; cat", "three\r\nfour\r\n");
    let cuts = proptest::collection::btree_set(1..bytes.len(), 0..6);
    proptest!(ProptestConfig::with_cases(40), |(cuts in cuts)| {
        let mut connection = server.connect();
        let mut from = 0;
        for to in cuts.into_iter().chain([bytes.len()]) {
            connection.send(&bytes[from..to]);
            std::thread::yield_now();
            from = to;
        }
        prop_assert_eq!(connection.read_last_reply(), Reply::new(0, "one\ntwo\nthree\r\nfour\r\n", ""));
    });
}

/// The answer to a request that a half-close cuts short.
fn cut_short(server: &TestServer, bytes: &str) -> Reply {
    let mut connection = server.send(bytes);
    connection.half_close();
    connection.read_last_reply()
}
