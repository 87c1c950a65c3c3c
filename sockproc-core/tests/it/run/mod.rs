//! `sockproc run` and `sockproc ping`.

mod classic;
mod detached;
mod exit_codes;
mod limits;
mod options;
mod programs;
mod record;
mod screen;
mod signals;
mod stdin;
mod streams;
mod terminal;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Output};

use rustix::process::Signal;

use crate::support::{TestServer, Transport, binary, finish, on_both_transports};

on_both_transports!(
    run_has_the_commands_streams_and_exit_code,
    run_asks_the_server_that_it_is_told,
    run_asks_the_server_of_the_environment,
    ping_tells_that_a_server_answers,
    run_passes_a_file_of_any_size_on,
);

const OWN_FAILURE: i32 = 125;

fn run_has_the_commands_streams_and_exit_code(on: Transport) {
    let server = on.server();
    for (command, code) in [
        ("exit 0", 0),
        ("exit 1", 1),
        ("exit 255", 255),
        ("kill -9 $$", 137),
        ("kill -15 $$", 143),
        ("/nonexistent", 127),
    ] {
        let output = run_on(&server, &[command.as_ref()]);
        assert_eq!(output.status.code(), Some(code), "{command}");
    }
    let output = run_on(
        &server,
        &["printf 'a\\0\\377'; printf 'b\\0\\376' >&2; exit 3".as_ref()],
    );
    assert_eq!(
        (output.status.code(), output.stdout, output.stderr),
        (Some(3), b"a\0\xff".to_vec(), b"b\0\xfe".to_vec())
    );
}

fn run_asks_the_server_that_it_is_told(on: Transport) {
    let server = on.setup().shell("MARK=servers; export MARK").start();
    assert_eq!(said(&run_on(&server, &["echo $MARK".as_ref()])), "servers");
}

fn run_asks_the_server_of_the_environment(on: Transport) {
    let server = on.setup().shell("MARK=servers; export MARK").start();
    let mut command = sockproc(&["run", "--", "echo $MARK"]);
    command.env("SOCKPROC_SOCKET", server.address.full());
    assert_eq!(said(&finish(command)), "servers");
    let mut command = sockproc(&["ping"]);
    command.env("SOCKPROC_SOCKET", server.address.full());
    assert!(finish(command).status.success());
}

fn ping_tells_that_a_server_answers(on: Transport) {
    let mut server = on.server();
    let address = server.address.full();
    let mut ping = sockproc(&["ping", "--server"]);
    ping.arg(&address);
    let output = finish(ping);
    assert!(output.status.success(), "{output:?}");
    server.signal(Signal::TERM);
    server.wait();
    let mut ping = sockproc(&["ping", "--server"]);
    ping.arg(&address);
    let output = finish(ping);
    assert!(matches!(output.status.code(), Some(1..)), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stderr).contains(address.to_str().unwrap()),
        "{output:?}"
    );
}

fn run_passes_a_file_of_any_size_on(on: Transport) {
    let server = on.server();
    for size in [0, 1, 65_536, 5_000_000] {
        let bytes: Vec<u8> = (0..=250).cycle().take(size).collect();
        fs::write(server.path("input"), &bytes).unwrap();
        let mut command = sockproc(&["run", "--server"]);
        command
            .arg(server.address.full())
            .arg("--stdin")
            .arg(server.path("input"))
            .args(["--", "cat"]);
        let output = finish(command);
        assert!(
            output.status.success() && output.stdout == bytes && output.stderr.is_empty(),
            "{size}"
        );
    }
}

#[test]
fn without_a_server_run_serves_itself() {
    let output = finish(sockproc(&[
        "run",
        "--",
        "uname -a; echo hello | tr a-z A-Z",
    ]));
    assert!(
        said(&output).ends_with("HELLO") && output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    assert_eq!(
        finish(sockproc(&["run", "--", "echo err >&2; exit 7"]))
            .status
            .code(),
        Some(7)
    );
}

#[test]
fn several_words_are_a_program_and_its_arguments() {
    let odd: &[&OsStr] = &[
        "a  b".as_ref(),
        "$HOME".as_ref(),
        "it's".as_ref(),
        "\"".as_ref(),
        "\n".as_ref(),
        "".as_ref(),
        "*".as_ref(),
        OsStr::from_bytes(b"\xff\xfe"),
        "\\".as_ref(),
    ];
    let mut command = sockproc(&["run", "--", "printf", "<%s>"]);
    command.args(odd);
    let output = finish(command);
    let expected: Vec<u8> = odd
        .iter()
        .flat_map(|word| [b"<", word.as_bytes(), b">"].concat())
        .collect();
    assert_eq!(
        output.stdout.escape_ascii().to_string(),
        expected.escape_ascii().to_string(),
        "{output:?}"
    );
}

#[test]
fn a_reader_that_has_gone_ends_it() {
    let mut shell = Command::new("/bin/sh");
    shell
        .args([
            "-c",
            "\"$0\" run -- 'seq 1000000; seq 1000000' </dev/null 2>/dev/null | head -n 1",
        ])
        .arg(binary());
    shell.env_remove("SOCKPROC_SOCKET");
    assert_eq!(said(&finish(shell)), "1");
}

#[test]
fn what_is_no_sockproc_server_is_reported_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = std::io::Write::write_all(&mut stream.unwrap(), b"220 mail.example ESMTP\r\n");
        }
    });
    let mut command = sockproc(&["run", "--server"]);
    command.arg(&path).args(["--", "true"]);
    let output = finish(command);
    assert_eq!(output.status.code(), Some(OWN_FAILURE), "{output:?}");
}

fn sockproc(words: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(words).env_remove("SOCKPROC_SOCKET");
    command
}

/// `sockproc run` with these options, on this server.
fn run_with(server: &TestServer, options: &[&str], words: &[&str]) -> Output {
    let mut command = sockproc(&["run", "--server"]);
    command.arg(server.address.full()).args(options);
    command.arg("--").args(words);
    finish(command)
}

fn run_on(server: &TestServer, words: &[&OsStr]) -> Output {
    let mut command = sockproc(&["run", "--server"]);
    command.arg(server.address.full()).arg("--").args(words);
    finish(command)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn complained(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
