//! What no client may send. Each gets a typed answer, and the server's other runs go on.

use sockproc_core::proto::RefusalKind;
use sockproc_core::proto::native::ClientSession;

use super::client::{Client, Told, argv, line};
use crate::support::{TestServer, Transport, is_alive, on_both_transports, poll_until};

on_both_transports!(
    a_bad_request_is_refused_by_the_name_of_its_record,
    a_frame_that_has_no_place_is_an_error_and_ends_the_run,
    a_frame_that_is_no_frame_is_an_error,
    stdin_past_its_credit_is_an_error_and_ends_the_run,
    frames_of_the_future_are_skipped,
    a_token_that_no_one_asked_for_is_refused,
);

fn a_bad_request_is_refused_by_the_name_of_its_record(on: Transport) {
    let server = on.server();
    for (records, name, kind) in [
        ("", "arg", RefusalKind::BadRequest),
        ("arg=ls", "RUN", RefusalKind::BadRequest),
        ("arg|", "RUN", RefusalKind::BadRequest),
        ("arg=ls|line=ls|", "line", RefusalKind::BadRequest),
        ("arg=ls|cwd=/|cwd=/|", "cwd", RefusalKind::BadRequest),
        ("arg=ls|timeout=0|", "timeout", RefusalKind::BadRequest),
        ("arg=ls|env==x|", "env", RefusalKind::BadRequest),
        ("arg=ls|umask=512|", "umask", RefusalKind::BadRequest),
        ("arg=ls|colour=red|", "RUN", RefusalKind::Unsupported),
    ] {
        let told = raw(&server, &run(records));
        let refusal = told.refusal();
        assert_eq!(refusal.kind, kind, "{records}");
        assert!(refusal.message.starts_with(name), "{records}: {refusal:?}");
    }
    let told = raw(
        &server,
        &run("arg=true|timeout=18446744073709551616|?new=1|"),
    );
    assert_eq!(told.code(), 0);
}

fn a_frame_that_has_no_place_is_an_error_and_ends_the_run(on: Transport) {
    let server = on.server();
    let stdin = [2, 0, 0, 0, 1, b'x'];
    let end = [3, 0, 0, 0, 0];
    let sleep = "arg=sleep|arg=1000|";
    for (records, frames) in [
        (sleep, run(sleep)),
        (sleep, stdin.to_vec()),
        (sleep, end.to_vec()),
        (
            "arg=sleep|arg=1000|stdin=frames|",
            [&end[..], &stdin].concat(),
        ),
        (sleep, [0x11, 0, 0, 0, 0].to_vec()),
        (
            sleep,
            [
                4, 0, 0, 0, 9, b'n', b'u', b'm', b'b', b'e', b'r', b'=', b'0', 0,
            ]
            .to_vec(),
        ),
    ] {
        let mut client = asked(&server, records);
        let pid = client.wait_for_start();
        client.connection.send(&frames);
        let told = client.finish();
        assert!(!told.failure().is_empty());
        poll_until(|| !is_alive(pid));
    }
}

fn a_frame_that_is_no_frame_is_an_error(on: Transport) {
    let server = on.server();
    for bytes in [
        &b"\x01\xff\xff\xff\xff"[..],
        b"\x7f\0\0\0\0",
        b"\x00\0\0\0\0",
        b"\x05\0\0\0\0",
        b"\x02\0\0\0\x01x",
    ] {
        let told = raw(&server, bytes);
        assert!(!told.failure().is_empty(), "{bytes:?}");
    }
}

fn stdin_past_its_credit_is_an_error_and_ends_the_run(on: Transport) {
    let server = on.server();
    let mut client = asked(&server, "arg=sleep|arg=1000|stdin=frames|");
    let pid = client.wait_for_start();
    // More than any window.
    client.connection.send([2, 0, 2, 0, 0]);
    let told = client.finish();
    assert!(told.failure().contains("credit"), "{told:?}");
    poll_until(|| !is_alive(pid));
}

fn frames_of_the_future_are_skipped(on: Transport) {
    let server = on.server();
    let mut bytes = vec![0x80, 0, 1, 0, 0];
    bytes.extend_from_slice(&[7; 65_536]);
    bytes.extend_from_slice(&run("line=echo hi|"));
    bytes.extend_from_slice(&[0xff, 0, 0, 0, 0]);
    let told = raw(&server, &bytes);
    assert_eq!(told.out(), "hi\n");
}

fn a_token_that_no_one_asked_for_is_refused(on: Transport) {
    let server = on.server();
    let mut request = argv(&["true"]);
    request.token = Some("secret".into());
    let told = Client::run(&server, &request);
    assert_eq!(told.refusal().kind, RefusalKind::Policy);
}

/// An error that is broken off in the middle of a frame is a client that has gone.
#[test]
fn a_frame_that_is_cut_is_never_acted_upon() {
    let server = Transport::Unix.server();
    let mut client = Client::ask(&server, &line("trap 'echo no > told' USR1; echo up; cat"));
    client.wait_for_start();
    assert!(client.next().is_some());
    client.connection.send(&b"\x04\0\0\0\x0anumber=10"[..14]);
    client.connection.vanish();
    std::thread::sleep(crate::support::A_WHILE);
    assert!(!server.path("told").exists());
}

/// A RUN frame of these records, with `|` for NUL.
fn run(records: &str) -> Vec<u8> {
    let payload = records.replace('|', "\0");
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[1][..], &len, payload.as_bytes()].concat()
}

/// A client whose session takes what it hears for an answer to these records.
#[track_caller]
fn asked(server: &TestServer, records: &str) -> Client {
    let mut client = Client::open(server);
    let mut request = argv(&["true"]);
    if records.contains("stdin=frames") {
        request.stdin = sockproc_core::proto::StreamMode::Piped;
    }
    client.session.send_run(&request).unwrap();
    client.connection.send(run(records));
    client
}

/// What is told to exactly these bytes behind the opening.
#[track_caller]
fn raw(server: &TestServer, bytes: &[u8]) -> Told {
    let mut client = Client::open(server);
    client.session = ClientSession::new();
    client.session.send_run(&argv(&["true"])).unwrap();
    client.connection.send(bytes);
    client.finish()
}
