//! `--token-file`: a server that runs only what comes with its token.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use sockproc_core::proto::{RefusalKind, Request};

use crate::native::client::{Client, argv};
use crate::support::{TestServer, Transport, binary, finish, on_both_transports, request};

on_both_transports!(
    only_the_whole_token_runs_a_command,
    classic_requests_are_refused_and_run_nothing,
    run_and_ping_show_the_token_of_a_file_or_of_the_environment,
    the_environments_token_is_shown_to_the_environments_server_alone,
    the_log_does_not_tell_the_token,
);

fn only_the_whole_token_runs_a_command(on: Transport) {
    let server = with_token(on, b"secret word\n");
    for wrong in [
        None,
        Some(""),
        Some("secret"),
        Some("secret words"),
        Some("Secret word"),
    ] {
        let told = Client::run(&server, &with(wrong));
        let refusal = told.refusal();
        assert_eq!(refusal.kind, RefusalKind::Policy, "{wrong:?}");
        assert!(refusal.message.starts_with("token: "), "{refusal:?}");
    }
    assert!(!server.path("ran").exists());
    assert_eq!(Client::run(&server, &with(Some("secret word"))).code(), 0);
    assert!(server.path("ran").exists());
}

fn classic_requests_are_refused_and_run_nothing(on: Transport) {
    let server = with_token(on, b"secret");
    let reply = server.run("touch ran");
    assert_eq!(reply.status, 69 << 8);
    assert!(reply.err().contains("token"), "{reply:?}");
    // The opening of a client that speaks both leads to native; what has no whole request has no answer.
    let mut unread = server.send(request("touch ran", "stdin"));
    assert_eq!(unread.read_last_reply().status, 69 << 8);
    assert!(!server.path("ran").exists());
}

fn run_and_ping_show_the_token_of_a_file_or_of_the_environment(on: Transport) {
    let server = with_token(on, b"secret\n");
    let address = server.address.full();
    let said = |command: &mut Command| {
        let output = finish_with(command);
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        (
            output.status.code(),
            stdout,
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let sockproc = |word: &str, rest: &[&str]| {
        let mut command = Command::new(binary());
        command
            .arg(word)
            .args(rest)
            .env_remove("SOCKPROC_SOCKET")
            .env_remove("SOCKPROC_TOKEN_FILE");
        command
    };
    let file = server.path("token");
    let file = file.to_str().unwrap();
    let there = address.to_str().unwrap();
    let named = ["--server", there, "--token-file", file];
    let run = [&named[..], &["--", "echo hi"]].concat();
    assert_eq!(
        said(&mut sockproc("run", &run)),
        (Some(0), "hi\n".into(), String::new())
    );
    assert_eq!(said(&mut sockproc("ping", &named)).0, Some(0));
    let (code, _, err) = said(&mut sockproc("ping", &["--server", there]));
    assert!(code == Some(1) && err.contains("token"), "{err}");
    let (code, _, err) = said(&mut sockproc("run", &["--server", there, "--", "echo hi"]));
    assert!(code == Some(125) && err.contains("token"), "{err}");
    for (word, rest) in [("run", &["--", "true"][..]), ("ping", &[])] {
        let mut command = sockproc(word, rest);
        command
            .env("SOCKPROC_SOCKET", &address)
            .env("SOCKPROC_TOKEN_FILE", file);
        assert_eq!(said(&mut command).0, Some(0), "{word}");
        command.env("SOCKPROC_TOKEN_FILE", "/nonexistent");
        let (code, _, err) = said(&mut command);
        assert!(code != Some(0) && err.contains("/nonexistent"), "{err}");
    }
}

fn the_environments_token_is_shown_to_the_environments_server_alone(on: Transport) {
    let server = with_token(on, b"secret\n");
    let stranger = on.server();
    let mut command = Command::new(binary());
    command
        .args([
            "run",
            "--server",
            stranger.address.full().to_str().unwrap(),
            "--",
            "true",
        ])
        .env("SOCKPROC_SOCKET", server.address.full())
        .env("SOCKPROC_TOKEN_FILE", server.path("token"));
    // It would refuse a token that it has not asked for.
    let output = finish(command);
    assert!(output.status.success(), "{output:?}");
}

fn the_log_does_not_tell_the_token(on: Transport) {
    let server = started(on, b"hush-token\n", &["--log", "trace"]);
    assert_eq!(Client::run(&server, &with(Some("hush-token"))).code(), 0);
    assert_eq!(
        Client::run(&server, &with(Some("hush-wrong")))
            .refusal()
            .kind,
        RefusalKind::Policy
    );
    crate::support::poll_until(|| server.log().contains("refused"));
    assert!(!server.log().contains("hush"), "{}", server.log());
}

#[test]
fn a_token_file_that_is_no_secret_stops_the_server() {
    let setup = Transport::Unix.setup().serve(["--token-file", "token"]);
    let file = setup.dir.path().join("token");
    let refused = |why: &str| {
        let output = finish(setup.command());
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{why}: {err}");
        assert!(
            err.contains("\"token\"") && err.contains(why),
            "{why}: {err}"
        );
        assert!(!setup.dir.path().join("s.sock").exists());
    };
    refused("No such file");
    for (bytes, why) in [
        (&b"\n"[..], "empty"),
        (&[b'x'; 4097], "4096"),
        (b"a\0", "NUL"),
    ] {
        write(&file, bytes, 0o600);
        refused(why);
    }
    for mode in [0o640, 0o604, 0o620, 0o602, 0o777] {
        write(&file, b"secret", mode);
        refused("chmod 600");
    }
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    refused("no regular file");
    fs::remove_dir(&file).unwrap();
    assert!(
        Command::new("mkfifo")
            .arg(&file)
            .status()
            .unwrap()
            .success()
    );
    refused("no regular file");
    fs::remove_file(&file).unwrap();
    symlink("/dev/zero", &file).unwrap();
    refused("no regular file");
}

#[test]
fn a_daemon_finds_its_token_file_where_it_was_typed() {
    let setup =
        Transport::Unix
            .setup()
            .serve(["--daemon", "--token-file", "token", "--pidfile", "pid"]);
    write(&setup.dir.path().join("token"), b"secret", 0o644);
    let output = finish(setup.command());
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && err.contains("chmod 600"),
        "{err}"
    );
    write(&setup.dir.path().join("token"), b"secret", 0o600);
    let output = finish(setup.command());
    assert!(output.status.success(), "{output:?}");
    let pid = String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .unwrap();
    let _daemon = crate::support::Doomed(pid);
    assert!(setup.address.is_served());
}

fn with_token(on: Transport, bytes: &[u8]) -> TestServer {
    started(on, bytes, &[])
}

fn started(on: Transport, bytes: &[u8], options: &[&str]) -> TestServer {
    let setup = on.setup().serve(["--token-file", "token"]).args(options);
    write(&setup.dir.path().join("token"), bytes, 0o600);
    setup.start()
}

fn write(path: &Path, bytes: &[u8], mode: u32) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn with(token: Option<&'static str>) -> Request {
    let mut request = argv(&["touch", "ran"]);
    request.token = token.map(Into::into);
    request
}

fn finish_with(command: &mut Command) -> std::process::Output {
    command.stdin(std::process::Stdio::null()).output().unwrap()
}
