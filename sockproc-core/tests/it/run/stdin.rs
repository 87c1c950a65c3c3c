//! Where the command's stdin comes from.

use std::fs;
use std::process::{Command, Stdio};

use super::{OWN_FAILURE, said, sockproc};
use crate::support::{Transport, binary, finish, on_both_transports};

on_both_transports!(
    a_command_that_has_read_enough_ends_although_stdin_goes_on,
    a_stdin_that_was_not_opened_for_reading_is_no_stdin,
);

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
        let mut command = sockproc(&[
            "run",
            "--idle-timeout",
            "60",
            "--stdin",
            "unreadable",
            "--",
            "cat > f && mv f g",
        ]);
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

/// No one waits for the next byte of a pipe that its writer keeps open.
fn a_command_that_has_read_enough_ends_although_stdin_goes_on(on: Transport) {
    let server = on.server();
    let mut command = sockproc(&["run", "--server"]);
    command
        .arg(server.address.full())
        .args(["--", "head -c 2"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut run = command.spawn().unwrap();
    let mut writer = run.stdin.take().unwrap();
    std::io::Write::write_all(&mut writer, b"abc").unwrap();
    let output = run.wait_with_output().unwrap();
    assert_eq!(
        (said(&output).as_str(), output.status.code()),
        ("ab", Some(0))
    );
    drop(writer);
}

/// As nohup(1) makes it where stdin is a terminal.
fn a_stdin_that_was_not_opened_for_reading_is_no_stdin(on: Transport) {
    let server = on.server();
    let unreadable = fs::OpenOptions::new().write(true).open("/dev/null");
    let mut command = sockproc(&["run", "--server"]);
    command
        .arg(server.address.full())
        .args(["--", "cat 2>/dev/null; echo hi"])
        .stdin(unreadable.unwrap());
    let output = command.output().unwrap();
    assert_eq!(
        (said(&output).as_str(), output.status.code()),
        ("hi", Some(0))
    );
}
