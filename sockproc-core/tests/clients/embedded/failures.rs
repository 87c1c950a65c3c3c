//! A helper that dies, or cannot serve.

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, setrlimit};
use sockproc_core::{Error, blocking, embedded};

use super::{alone, helper, is_alone, lives, myself, pid_of};
use crate::support::poll_until;

#[test]
fn a_helper_that_was_killed_is_started_anew() {
    alone("failures::a_helper_that_was_killed_is_started_anew", || {
        let first = helper();
        let mut wait = blocking::Command::shell("kill -9 $PPID; sleep 1000");
        let error = wait.output().unwrap_err();
        assert!(matches!(error, Error::Disconnected { .. }), "{error:?}");
        assert!(error.may_have_run());
        let second = next_helper(first);
        kill_process(Pid::from_raw(second).unwrap(), Signal::KILL).unwrap();
        next_helper(second);
    });
}

#[test]
fn no_command_is_run_twice_when_its_helper_dies() {
    alone(
        "failures::no_command_is_run_twice_when_its_helper_dies",
        || {
            let dir = tempfile::tempdir().unwrap();
            let ran = dir.path().join("ran");
            for count in 1..=20 {
                let mut command =
                    blocking::Command::shell("echo >>\"$1\"; kill -9 $PPID; sleep 1000");
                let error = command.arg(&ran).output().unwrap_err();
                assert!(error.may_have_run(), "{error:?}");
                assert_eq!(std::fs::read(&ran).unwrap().len(), count);
            }
        },
    );
}

/// Whoever starts a set-user-ID program chooses its environment.
#[test]
fn a_set_user_id_program_runs_no_helper_that_its_caller_names() {
    use std::os::unix::fs::PermissionsExt;

    use nix::unistd::{Uid, setresuid};

    if !Uid::effective().is_root() {
        return; // No other user's program can be imitated.
    }
    let name = "failures::a_set_user_id_program_runs_no_helper_that_its_caller_names";
    if is_alone(name) {
        embedded::set_program(["sockproc"]);
        setresuid(Uid::from_raw(65534), Uid::from_raw(0), Uid::from_raw(0)).unwrap();
        let error = blocking::Command::new("true").output().unwrap_err();
        assert!(matches!(error, Error::NoServer { .. }), "{error:?}");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let script = dir.path().join("sockproc");
    std::fs::write(&script, "#!/bin/sh\ntouch \"${0%/*}/trace\"\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let output = myself(name)
        .env("SOCKPROC_BIN", &script)
        .env("PATH", dir.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(!dir.path().join("trace").exists());
}

/// The helper that is started once this one is dead. Until it is, runs may be handed to it, and those
/// are lost with it.
fn next_helper(dying: i32) -> i32 {
    let mut next = dying;
    poll_until(|| {
        match blocking::Command::shell("echo $PPID").output() {
            Ok(output) => next = pid_of(&output),
            Err(error) => assert!(error.may_have_run(), "{error:?}"),
        }
        next != dying
    });
    assert!(lives(next));
    next
}

#[test]
fn a_helper_that_cannot_serve_says_why() {
    alone("failures::a_helper_that_cannot_serve_says_why", || {
        let few = Rlimit {
            current: Some(16),
            maximum: Some(16),
        };
        setrlimit(Resource::Nofile, few).unwrap();
        let error = blocking::Command::new("true").output().unwrap_err();
        assert!(!error.may_have_run());
        let Error::Helper { program, source } = error else {
            panic!("{error:?}");
        };
        assert_eq!(program, env!("CARGO_BIN_EXE_sockproc"));
        assert!(source.to_string().contains("16"), "{source}");
    });
}

#[test]
fn a_program_that_is_no_helper_is_an_error() {
    alone("failures::a_program_that_is_no_helper_is_an_error", || {
        embedded::set_program(["/bin/true"]);
        let error = blocking::Command::new("true").output().unwrap_err();
        assert!(matches!(error, Error::Helper { .. }), "{error:?}");
        assert!(!error.may_have_run());
        embedded::set_program(["/nonexistent/sockproc"]);
        let error = blocking::Command::new("true").output().unwrap_err();
        assert!(matches!(error, Error::NoServer { .. }), "{error:?}");
        let message = error.to_string();
        for part in ["/nonexistent/sockproc", "SOCKPROC_SOCKET"] {
            assert!(message.contains(part), "{message}");
        }
    });
}

/// It takes a connection, reads the request, and dies.
const DIES_WITH_A_REQUEST: &str = r#"
import socket, sys
control = socket.socket(fileno=1)
control.setblocking(True)
socket.recv_fds(control, 100, 2)
_, fds, _, _ = socket.recv_fds(control, 100, 1)
run = socket.socket(fileno=fds[0])
run.setblocking(True)
run.recv(100)
with open(sys.argv[1], "a") as taken:
    taken.write("x")
"#;

/// It may have started the command, though it has not said so.
#[test]
fn a_request_that_a_helper_has_read_is_sent_to_no_other() {
    let name = "failures::a_request_that_a_helper_has_read_is_sent_to_no_other";
    alone(name, || {
        let dir = tempfile::tempdir().unwrap();
        let taken = dir.path().join("taken");
        let words = ["/usr/bin/env", "python3", "-c", DIES_WITH_A_REQUEST];
        let words = words.into_iter().map(Into::into);
        embedded::set_program(words.chain([taken.clone().into_os_string()]));
        let error = blocking::Command::new("true").output().unwrap_err();
        assert!(matches!(error, Error::Disconnected { .. }), "{error:?}");
        assert!(error.may_have_run());
        assert_eq!(std::fs::read(taken).unwrap(), b"x");
    });
}
