//! The client of the documentation, in Python's standard library, against a real server.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::channel;
use std::thread;

use crate::support::{DEADLINE, TestServer, Transport, on_both_transports};

on_both_transports!(
    it_runs_an_argv_with_stdin,
    it_tells_both_streams_and_the_exit_code_apart,
    it_tells_a_signal,
    it_says_why_nothing_was_run,
    it_ends_when_the_command_reads_no_more,
);

fn it_runs_an_argv_with_stdin(on: Transport) {
    let server = on.server();
    let stdin: Vec<u8> = (0..3_000_001_u32).map(|n| (n % 251) as u8).collect();
    let output = client(&server, &["cat"], &stdin);
    assert!(output.stdout == stdin, "{} bytes", output.stdout.len());
    assert_eq!(
        (output.status.code(), output.stderr.as_slice()),
        (Some(0), &b""[..])
    );
    let words = client(&server, &["printf", "%s.", "a b", "", "*", "$HOME"], b"");
    assert_eq!(words.stdout, b"a b..*.$HOME.");
}

fn it_tells_both_streams_and_the_exit_code_apart(on: Transport) {
    let output = client(
        &on.server(),
        &["sh", "-c", "cat; cat >&2; echo err >&2; exit 7"],
        b"out",
    );
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(
        (output.stdout.as_slice(), output.stderr.as_slice()),
        (&b"out"[..], &b"err\n"[..])
    );
}

fn it_tells_a_signal(on: Transport) {
    let output = client(&on.server(), &["sh", "-c", "kill -9 $$"], b"");
    assert_eq!(output.status.code(), Some(128 + 9));
}

fn it_says_why_nothing_was_run(on: Transport) {
    let output = client(&on.server(), &["no-such-program"], b"");
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    let last = told.lines().last().unwrap();
    assert!(
        last.contains("NotRun: ") && last.contains("no-such-program"),
        "{told}"
    );
}

fn it_ends_when_the_command_reads_no_more(on: Transport) {
    let output = client(&on.server(), &["head", "-c", "3"], &vec![b'x'; 3_000_000]);
    assert_eq!(
        (output.status.code(), output.stdout.as_slice()),
        (Some(0), &b"xxx"[..])
    );
}

/// Runs the example client with this stdin.
#[track_caller]
fn client(server: &TestServer, argv: &[&str], stdin: &[u8]) -> Output {
    let mut python = Command::new("python3")
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../docs/native_client.py"
        ))
        .arg(server.address.word())
        .args(argv)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It reads all of its stdin before it asks for anything.
    python.stdin.take().unwrap().write_all(stdin).unwrap();
    let (sender, receiver) = channel();
    thread::spawn(move || sender.send(python.wait_with_output()));
    receiver.recv_timeout(DEADLINE).expect("its end").unwrap()
}
