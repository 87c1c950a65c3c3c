//! What the builders ask for, done by a server of this project.

use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use sockproc_core::blocking::{Child, Command};
use sockproc_core::proto::{EndedBy, OnDisconnect, RefusalKind};
use sockproc_core::{Error, Protocol, Stdio, client};

use super::support::{DEADLINE, Server, Transport, poll_until, runtime};

/// A line for the shell, to be run on `server`.
fn shell(server: &Server, line: &str) -> Command {
    let mut command = Command::shell(line.to_owned());
    command.server(server.address.clone());
    command
}

fn stdout(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A process that is no zombie.
fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(')')
        .and_then(|(_, rest)| rest.trim().chars().next());
    state.is_some_and(|state| state != 'Z')
}

#[test]
fn directory_environment_and_umask_are_the_commands() {
    for transport in Transport::BOTH {
        let server = Server::start(transport);
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        let mut pwd = shell(&server, "pwd; umask");
        let said = stdout(pwd.current_dir(&dir).umask(0o027));
        assert_eq!(said, format!("{}\n0027\n", dir.display()));

        let mut env = Command::new("/usr/bin/env");
        env.server(server.address.clone())
            .env_clear()
            .env("A", "1")
            .env("B", "x=y");
        assert_eq!(stdout(&mut env), "A=1\nB=x=y\n");
        let mut home = shell(&server, "echo ${HOME-none}");
        assert_eq!(stdout(home.env_remove("HOME")), "none\n");
    }
}

#[test]
fn a_timeout_keeps_the_output_and_ends_the_tree() {
    for transport in Transport::BOTH {
        let server = Server::start(transport);
        let start = Instant::now();
        let error = shell(&server, "echo a; sleep 1000 | sleep 1000")
            .timeout(Duration::from_millis(300))
            .grace(Duration::from_millis(500))
            .output()
            .unwrap_err();
        let Error::Timeout {
            timeout, stdout, ..
        } = &error
        else {
            panic!("{error:?}")
        };
        assert_eq!((timeout.as_millis(), &stdout[..]), (300, &b"a\n"[..]));
        assert!(error.may_have_run() && start.elapsed() < DEADLINE);
        let error = shell(&server, "echo b; sleep 1000")
            .idle_timeout(Duration::from_millis(200))
            .output()
            .unwrap_err();
        assert!(matches!(error, Error::IdleTimeout { stdout, .. } if stdout == b"b\n"));
    }
}

#[test]
fn output_past_its_cap_ends_the_run() {
    for transport in Transport::BOTH {
        let server = Server::start(transport);
        let error = shell(&server, "yes")
            .max_output(100_000)
            .output()
            .unwrap_err();
        assert!(
            matches!(
                error,
                Error::OutputTooLarge {
                    limit: 100_000,
                    len: 100_001..,
                    ..
                }
            ),
            "{error:?}"
        );
    }
}

#[test]
fn what_a_command_leaves_behind_holds_up_nothing_and_is_reported() {
    for transport in Transport::BOTH {
        let server = Server::start(transport);
        let start = Instant::now();
        let output = shell(&server, "sleep 1000 & echo $!").output().unwrap();
        assert!(start.elapsed() < Duration::from_secs(20));
        assert_eq!(output.exit.survivors, 1);
        assert_eq!(output.exit.ended_by, None::<EndedBy>);
        let pid = String::from_utf8(output.stdout).unwrap();
        shell(&server, &format!("kill {pid}")).status().unwrap();
    }
}

#[test]
fn a_start_that_fails_says_at_which_step() {
    for transport in Transport::BOTH {
        let server = Server::start(transport);
        for (program, dir, step, errno) in [
            ("/nonexistent", "/", "exec", 2),
            ("true", "/nonexistent", "chdir", 2),
        ] {
            let mut command = Command::new(program);
            command.server(server.address.clone()).current_dir(dir);
            let error = command.output().unwrap_err();
            assert!(!error.may_have_run());
            let Error::Refused {
                kind: RefusalKind::CannotSpawn,
                step: Some(at),
                errno: Some(number),
                ..
            } = error
            else {
                panic!("{error:?}")
            };
            assert_eq!((&at[..], number), (step, errno));
        }
    }
}

#[test]
fn a_child_streams_both_ways_through_stds_pipes() {
    let server = Server::start(Transport::Unix);
    let mut child = shell(&server, "cat; echo over >&2; exit 3")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let data: Vec<u8> = (0..=250).cycle().take(3_000_000).collect();
    let sent = data.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&sent));
    let mut came = Vec::new();
    stdout.read_to_end(&mut came).unwrap();
    writer.join().unwrap().unwrap();
    assert!(came == data);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(output.stderr, b"over\n");
}

#[test]
fn a_child_streams_both_ways_through_tokios_pipes() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = Server::start(Transport::Unix);
    runtime().block_on(async {
        let mut child = client::Command::new("cat")
            .server(server.address.clone())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .await
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let data: Vec<u8> = (0..=250).cycle().take(3_000_000).collect();
        let sent = data.clone();
        let writer = tokio::spawn(async move { stdin.write_all(&sent).await });
        let mut came = Vec::new();
        stdout.read_to_end(&mut came).await.unwrap();
        writer.await.unwrap().unwrap();
        assert!(came == data);
        assert!(child.wait().await.unwrap().success());
    });
}

#[test]
fn a_wait_that_is_cut_short_goes_on_and_a_timeout_ends_a_child_too() {
    let server = Server::start(Transport::Unix);
    runtime().block_on(async {
        let mut command = client::Command::shell("sleep 0.3; exit 4");
        command.server(server.address.clone());
        let mut child = command.spawn().await.unwrap();
        let short = Duration::from_millis(20);
        assert!(tokio::time::timeout(short, child.wait()).await.is_err());
        assert_eq!(child.try_wait().unwrap(), None);
        assert_eq!(child.wait().await.unwrap().code(), Some(4));

        let mut command = client::Command::shell("sleep 1000");
        command
            .server(server.address.clone())
            .timeout(Duration::from_millis(100));
        let mut child = command.spawn().await.unwrap();
        let error = child.wait().await.unwrap_err();
        assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
        assert!(child.wait().await.is_err());
    });
}

/// Sleeps behind a shell.
fn sleeper(server: &Server) -> Child {
    shell(server, "sleep 1000; exit 9")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_child_is_signalled_killed_cancelled_and_ended_with_its_client() {
    let server = Server::start(Transport::Unix);
    let mut child = sleeper(&server);
    assert_eq!(child.try_wait().unwrap(), None);
    child.signal(15).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(15));

    let mut child = sleeper(&server);
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));

    let mut child = sleeper(&server);
    child.cancel().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(15));

    let child = sleeper(&server);
    let pid = child.id();
    assert!(is_alive(pid));
    drop(child);
    poll_until(|| !is_alive(pid));
}

#[test]
fn a_command_told_to_finish_goes_on_without_its_client() {
    let server = Server::start(Transport::Unix);
    let dir = tempfile::tempdir().unwrap();
    let mark = dir.path().join("mark");
    let line = format!("sleep 0.3; touch {}", mark.display());
    let child = shell(&server, &line)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .on_disconnect(OnDisconnect::Finish)
        .spawn()
        .unwrap();
    drop(child);
    poll_until(|| Path::new(&mark).exists());
}

#[test]
fn a_file_is_the_commands_own_stdin_and_stdout() {
    let server = Server::start(Transport::Unix);
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    std::fs::write(&from, "2\n1\n").unwrap();
    let mut sort = Command::new("sort");
    sort.server(server.address.clone())
        .stdin(std::fs::File::open(&from).unwrap())
        .stdout(std::fs::File::create(&to).unwrap());
    for _ in 0..2 {
        assert!(sort.status().unwrap().success());
    }
    assert_eq!(std::fs::read(&to).unwrap(), b"1\n2\n");
}

#[test]
fn stderr_in_stdouts_place_keeps_the_order() {
    for transport in Transport::BOTH {
        let server = Server::start(transport);
        let mut mixed = shell(&server, "echo a; echo b >&2; echo c");
        assert_eq!(stdout(mixed.stderr(Stdio::as_stdout())), "a\nb\nc\n");
    }
}

#[test]
fn what_needs_the_native_protocol_is_refused_by_name_on_the_classic_one() {
    let server = Server::start(Transport::Unix);
    let error = shell(&server, "true")
        .protocol(Protocol::Classic)
        .env("A", "1")
        .output()
        .unwrap_err();
    assert_eq!(error.to_string(), "the classic protocol cannot carry env");
}
