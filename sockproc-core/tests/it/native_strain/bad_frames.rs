//! Frames that break the protocol: each is answered by ERROR, and what runs ends.

use sockproc_core::proto::opening::OPENING;

use super::bystanders::Bystanders;
use super::wire::*;
use crate::support::{TestServer, Transport, is_alive, marked, on_both_transports, poll_until};

on_both_transports!(
    a_bad_frame_in_place_of_run_is_answered_by_its_flaw,
    a_bad_frame_behind_run_ends_the_run,
    stdin_past_the_first_credit_is_an_error,
    frames_from_0x80_up_are_skipped_whatever_their_length,
    nothing_is_run_of_a_frame_whose_length_is_too_great,
);

/// What comes behind the opening, and the message.
fn in_place_of_run() -> Vec<(Vec<u8>, &'static str)> {
    vec![
        (
            header(RUN, 2_097_153),
            "a RUN frame of 2097153 bytes is longer than 2097152",
        ),
        (
            header(RUN, u32::MAX),
            "a RUN frame of 4294967295 bytes is longer than 2097152",
        ),
        (frame(0x00, ""), "unknown frame type 0x00"),
        (frame(0x06, ""), "unknown frame type 0x06"),
        (frame(0x10, ""), "unknown frame type 0x10"),
        (frame(0x1b, ""), "unknown frame type 0x1b"),
        (header(0x7f, u32::MAX), "unknown frame type 0x7f"),
        (b"true\r\n0\r\n".to_vec(), "unknown frame type 0x74"),
        (frame(STDIN, "x"), "a STDIN frame is not allowed here"),
        (
            frame(STDIN_END, ""),
            "a STDIN_END frame is not allowed here",
        ),
        (
            records(SIGNAL, "number=15|"),
            "a SIGNAL frame is not allowed here",
        ),
        (frame(CANCEL, ""), "a CANCEL frame is not allowed here"),
        (
            records(STARTED, "pid=1|"),
            "a STARTED frame is not allowed here",
        ),
        (
            records(EXITED, "exit=0|"),
            "a EXITED frame is not allowed here",
        ),
        (
            records(REFUSED, "kind=busy|"),
            "a REFUSED frame is not allowed here",
        ),
    ]
}

fn a_bad_frame_in_place_of_run_is_answered_by_its_flaw(on: Transport) {
    let server = on.server();
    let bystanders = Bystanders::of(&server);
    for (bad, message) in in_place_of_run() {
        let heard = Heard::parse(&server.exchange([OPENING, &bad].concat()));
        heard.assert_error(message);
        assert_eq!(heard.kinds(), [ERROR]);
    }
    bystanders.are_untouched();
}

/// What comes behind a RUN whose stdin is in frames, and the message.
fn behind_run() -> Vec<(Vec<u8>, &'static str)> {
    let last = frame(STDIN_END, "");
    let twice = |bad: &[u8]| [&last[..], bad].concat();
    let spent = frame(STDIN, [0; 16_384]);
    vec![
        (records(RUN, "arg=true|"), "a RUN frame is not allowed here"),
        (frame(0x06, ""), "unknown frame type 0x06"),
        (frame(STDOUT, "x"), "a STDOUT frame is not allowed here"),
        (
            records(CREDIT, "bytes=1|"),
            "a CREDIT frame is not allowed here",
        ),
        (
            header(STDIN, 262_145),
            "a STDIN frame of 262145 bytes is longer than 262144",
        ),
        (
            header(STDIN, 262_144),
            "a STDIN frame of 262144 bytes was sent on a credit of ",
        ),
        ([&spent[..], &frame(STDIN, vec![0; 262_144])].concat(), ""),
        (
            header(STDIN_END, 4_097),
            "a STDIN_END frame of 4097 bytes is longer than 4096",
        ),
        (frame(STDIN_END, "x"), ""),
        (
            twice(&frame(STDIN, "x")),
            "a STDIN frame is not allowed here",
        ),
        (twice(&last), "a STDIN_END frame is not allowed here"),
        (
            header(SIGNAL, 4_097),
            "a SIGNAL frame of 4097 bytes is longer than 4096",
        ),
        (frame(SIGNAL, ""), ""),
        (records(SIGNAL, "number=15"), ""),
        (records(SIGNAL, "number|"), ""),
        (records(SIGNAL, "number=|"), ""),
        (records(SIGNAL, "number=0|"), ""),
        (records(SIGNAL, "number=65|"), ""),
        (records(SIGNAL, "number=-1|"), ""),
        (records(SIGNAL, "number=18446744073709551631|"), ""),
        (records(SIGNAL, "number=15|number=15|"), ""),
        (records(SIGNAL, "number=15|to=all|"), ""),
        (records(SIGNAL, "to=leader|"), ""),
        (frame(CANCEL, "x"), ""),
    ]
}

fn a_bad_frame_behind_run_ends_the_run(on: Transport) {
    let server = on.server();
    let bystanders = Bystanders::of(&server);
    for (number, (bad, message)) in behind_run().into_iter().enumerate() {
        let mark = format!("behind.{}.{number}", server.pid());
        let run = format!("line=echo > r{number}; exec sleep 1000|stdin=frames|");
        let run = ask(&format!("{run}env=SOCKPROC_TEST_MARK={mark}|"));
        let mut client = server.send(run);
        server.wait_for(&format!("r{number}"));
        client.send(&bad);
        let heard = Heard::parse(&client.read_to_end());
        let told = &heard.last(ERROR)["message"];
        let shown = bad[..bad.len().min(60)].escape_ascii();
        assert!(told.starts_with(message), "{shown}: {told}");
        assert!(!heard.has(EXITED) && !heard.has(REFUSED), "{shown}");
        poll_until(|| marked(&mark).is_empty());
    }
    bystanders.are_untouched();
}

/// The command does not run yet when it comes.
fn stdin_past_the_first_credit_is_an_error(on: Transport) {
    let server = on.server();
    let run = ask("arg=sleep|arg=1000|stdin=frames|");
    let heard = Heard::parse(&server.exchange([run, header(STDIN, 16_385)].concat()));
    heard.assert_error("a STDIN frame of 16385 bytes was sent on a credit of 16384");
}

fn frames_from_0x80_up_are_skipped_whatever_their_length(on: Transport) {
    let server = on.server();
    let skipped = [frame(0x80, ""), frame(0xff, vec![1; 5_000_000])].concat();
    let run = records(RUN, "arg=cat|stdin=frames|");
    let (stdin, end) = (frame(STDIN, "hi"), frame(STDIN_END, ""));
    let whole = [
        OPENING, &skipped, &run, &skipped, &stdin, &skipped, &end, &skipped,
    ];
    let mut client = server.connect();
    client.send_beside(whole.concat());
    let heard = Heard::parse(&client.read_to_end());
    assert_eq!(heard.last(EXITED)["exit"], "0");
    assert_eq!(heard.bytes(STDOUT), b"hi");
}

/// Its length is judged before its payload comes, and the payload is no request.
fn nothing_is_run_of_a_frame_whose_length_is_too_great(on: Transport) {
    let server = on.server();
    let padding = "?x=y|".repeat(2_097_152 / 5);
    let run = ask(&format!("line=echo > ran|{padding}"));
    let mut client = server.connect();
    client.send_beside(run);
    Heard::parse(&client.read_to_end()).last(ERROR);
    assert!(!server.path("ran").exists());
    ends_what_has_not_read(&server);
}

/// An error that stands behind unread output, and a command that ignores SIGTERM.
#[track_caller]
fn ends_what_has_not_read(server: &TestServer) {
    let run = "line=trap '' TERM; echo $$ > deaf; while :; do echo x; done|grace=100|";
    let mut client = server.send(ask(run));
    let pid: u32 = server.wait_for("deaf").trim().parse().unwrap();
    client.send(frame(0x7f, ""));
    poll_until(|| !is_alive(pid));
    client.skip_to_any_end();
}
