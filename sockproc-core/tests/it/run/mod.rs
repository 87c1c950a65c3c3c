//! `sockproc run` and `sockproc ping`.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};

use rustix::process::Signal;

use crate::support::{
    Doomed, TestServer, Transport, binary, finish, is_alive, on_both_transports, poll_until,
    send_signal,
};

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
fn its_own_stdin_is_passed_on_when_it_is_no_terminal() {
    for words in [
        &["run", "--", "cat"][..],
        &["run", "--stdin", "-", "--", "cat"],
    ] {
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", "printf 'piped\\n' | \"$@\"", "sh"])
            .arg(binary())
            .args(words)
            .env_remove("SOCKPROC_SOCKET");
        assert_eq!(said(&finish(shell)), "piped");
    }
}

#[test]
fn a_terminal_is_not_read_unless_it_is_asked_for() {
    // script(1) makes a terminal without any input, which never ends.
    let dir = tempfile::tempdir().unwrap();
    let mut shell = Command::new("/bin/sh");
    let script = "mkfifo never && exec script -qec '\"$SOCKPROC\" run -- \"cat; echo end\"' /dev/null 0<>never";
    shell
        .args(["-c", script])
        .current_dir(dir.path())
        .env("SOCKPROC", binary())
        .env_remove("SOCKPROC_SOCKET");
    assert_eq!(said(&finish(shell)), "end");
}

#[test]
fn stdin_that_the_command_does_not_read_is_no_error() {
    let input = tempfile::NamedTempFile::new().unwrap();
    fs::write(input.path(), vec![7; 20_000_000]).unwrap();
    let mut command = sockproc(&["run", "--stdin"]);
    command.arg(input.path()).args(["--", "exit 3"]);
    assert_eq!(finish(command).status.code(), Some(3));
}

#[test]
fn stdin_that_cannot_be_read_is_named_and_is_not_the_whole() {
    for _ in 0..10 {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("unreadable")).unwrap();
        let mut command = sockproc(&["run", "--stdin", "unreadable", "--", "cat > f && mv f g"]);
        command.current_dir(dir.path());
        let output = finish(command);
        assert_eq!(output.status.code(), Some(OWN_FAILURE), "{output:?}");
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("unreadable"),
            "{output:?}"
        );
        // Its server was inside it: the command is dead.
        assert!(!dir.path().join("g").exists());
    }
}

#[test]
fn stdin_that_never_ends_does_not_hold_up_the_end() {
    let mut command = sockproc(&["run", "--stdin", "/dev/zero", "--", "head -c 3 | wc -c"]);
    command.env("LC_ALL", "C");
    assert_eq!(said(&finish(command)), "3");
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
fn its_own_failures_are_exit_code_125_and_a_message() {
    let cases: &[(&[&str], &str)] = &[
        (
            &["run", "--server", "unix:/nonexistent/s.sock", "--", "true"],
            "/nonexistent/s.sock",
        ),
        (
            &["run", "--stdin", "/nonexistent/input", "--", "true"],
            "/nonexistent/input",
        ),
        (&["run", "--", "echo one\r\necho two"], ""),
    ];
    for (words, name) in cases {
        let output = finish(sockproc(words));
        assert_eq!(
            output.status.code(),
            Some(OWN_FAILURE),
            "{words:?}: {output:?}"
        );
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            said.starts_with("sockproc: ") && said.contains(name),
            "{words:?}: {said}"
        );
        assert!(output.stdout.is_empty());
    }
    // 2 would be taken for the command's own.
    for words in [
        &["run"][..],
        &["run", "--"],
        &["run", "--nosuch", "--", "true"],
        &["run", "-e", "NAME", "--", "true"],
        &["run", "--timeout", "0", "--", "true"],
        &["run", "-t", "--merge", "--", "true"],
    ] {
        let code = finish(sockproc(words)).status.code();
        assert_eq!(code, Some(OWN_FAILURE), "{words:?}");
    }
    let code = finish(sockproc(&["ping", "extra"])).status.code();
    assert_eq!(code, Some(2));
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

#[test]
fn sigterm_to_run_ends_the_command_that_it_serves_itself() {
    ends_with_its_command(Signal::TERM);
}

#[test]
fn sigint_to_run_ends_the_command_that_it_serves_itself() {
    ends_with_its_command(Signal::INT);
}

/// A terminal that is closed sends it.
#[test]
fn sighup_to_run_ends_the_command_that_it_serves_itself() {
    ends_with_its_command(Signal::HUP);
}

/// A terminal sends it too.
#[test]
fn sigquit_to_run_ends_the_command_that_it_serves_itself() {
    ends_with_its_command(Signal::QUIT);
}

fn ends_with_its_command(signal: Signal) {
    for _ in 0..10 {
        let dir = tempfile::tempdir().unwrap();
        let line = "echo $$ > pid; exec sleep 1000";
        let mut process = sockproc(&["run", "--", line])
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let pid = || fs::read_to_string(dir.path().join("pid")).unwrap_or_default();
        poll_until(|| pid().ends_with('\n'));
        let command = Doomed(pid().trim().parse().unwrap());
        send_signal(process.id(), signal);
        let status = process.wait().unwrap();
        let by_signal = status.signal() == Some(signal.as_raw());
        assert!(
            by_signal || status.code() == Some(128 + signal.as_raw()),
            "{status:?}"
        );
        poll_until(|| !is_alive(command.0));
    }
}

fn sockproc(words: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(words).env_remove("SOCKPROC_SOCKET");
    command
}

fn run_on(server: &TestServer, words: &[&OsStr]) -> Output {
    let mut command = sockproc(&["run", "--server"]);
    command.arg(server.address.full()).arg("--").args(words);
    finish(command)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
