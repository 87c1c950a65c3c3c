//! `sockproc <path>|<port> [pidfile] [--foreground]`

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::process::Command;

use crate::support::{
    Setup, TestServer, Transport, binary, finish, on_both_transports, poll_until,
};

on_both_transports!(
    foreground_counts_anywhere_after_the_address,
    the_pidfile_is_the_second_argument,
    the_pidfile_is_the_third_argument_if_the_second_is_foreground,
    the_pidfile_holds_digits_without_a_newline,
    the_pidfile_is_overwritten,
    the_mode_of_the_pidfile_is_by_umask,
    a_pidfile_that_cannot_be_written_is_ignored,
);

#[test]
fn without_an_argument_the_usage_is_shown() {
    usage(&[]);
}

#[test]
fn a_first_argument_that_begins_with_a_dash_shows_the_usage() {
    for word in ["-", "-x", "-1", "--foreground", "--nosuch"] {
        usage(&[word]);
        usage(&[word, "other"]);
    }
}

#[test]
fn the_mode_of_the_socket_is_0777_less_the_umask() {
    for (umask, mode) in [
        ("022", 0o755),
        ("0", 0o777),
        ("077", 0o700),
        ("0111", 0o666),
    ] {
        let server = Transport::Unix
            .setup()
            .shell(&format!("umask {umask}"))
            .start();
        let metadata = fs::metadata(server.path("s.sock")).unwrap();
        assert!(metadata.file_type().is_socket());
        assert_eq!(
            metadata.permissions().mode() & 0o7777,
            mode,
            "umask {umask}"
        );
    }
}

fn foreground_counts_anywhere_after_the_address(on: Transport) {
    // `start` adds --foreground at the end and sees that the process stays.
    let mut servers = vec![on.setup().start(), on.setup().args(["pid"]).start()];
    servers.push(on.setup().args(["pid", "spare"]).start());
    servers.push(on.setup().args(["--foreground", "pid"]).start());
    for server in &mut servers {
        assert_eq!(server.run("echo hi").out(), "hi\n");
        assert!(server.process.try_wait().unwrap().is_none());
    }
}

fn the_pidfile_is_the_second_argument(on: Transport) {
    let server = with_pidfile(on.setup().args(["pid", "spare"]));
    assert_eq!(server.read("pid"), server.pid().to_string());
    assert!(!server.path("spare").exists());
}

fn the_pidfile_is_the_third_argument_if_the_second_is_foreground(on: Transport) {
    let server = with_pidfile(on.setup().args(["--foreground", "pid", "spare"]));
    assert_eq!(server.read("pid"), server.pid().to_string());
    assert!(!server.path("spare").exists());
}

fn the_pidfile_holds_digits_without_a_newline(on: Transport) {
    let server = with_pidfile(on.setup().args(["pid"]));
    assert!(server.read("pid").bytes().all(|byte| byte.is_ascii_digit()));
}

fn the_pidfile_is_overwritten(on: Transport) {
    let setup = on.setup();
    fs::write(setup.dir.path().join("pid"), "99999999 and much more\n").unwrap();
    let server = setup.args(["pid"]).start();
    poll_until(|| server.read("pid") == server.pid().to_string());
}

fn the_mode_of_the_pidfile_is_by_umask(on: Transport) {
    for (umask, mode) in [("022", 0o644), ("0", 0o666), ("027", 0o640)] {
        let server = with_pidfile(on.setup().shell(&format!("umask {umask}")).args(["pid"]));
        let metadata = fs::metadata(server.path("pid")).unwrap();
        assert_eq!(
            metadata.permissions().mode() & 0o7777,
            mode,
            "umask {umask}"
        );
    }
}

fn a_pidfile_that_cannot_be_written_is_ignored(on: Transport) {
    for pidfile in ["nosuch/pid", "."] {
        let server = on.setup().args([pidfile]).start();
        assert_eq!(server.run("echo hi").out(), "hi\n");
    }
}

/// A server whose pidfile `pid` is there: in the foreground nothing else says when it is.
fn with_pidfile(setup: Setup) -> TestServer {
    let server = setup.start();
    poll_until(|| !server.read("pid").is_empty());
    server
}

fn usage(words: &[&str]) {
    let mut command = Command::new(binary());
    command.args(words);
    let output = finish(command);
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    assert_eq!(output.status.code(), Some(2), "{words:?}: {said}");
    assert!(said.to_lowercase().contains("usage"), "{words:?}: {said}");
}
