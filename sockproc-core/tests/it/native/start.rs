//! What a command is started with, and why one is not.

use std::os::unix::fs::PermissionsExt;

use sockproc_core::proto::{RefusalKind, Request};

use super::client::{Client, argv, line};
use crate::support::{TestServer, Transport, on_both_transports};

on_both_transports!(
    an_argument_vector_is_run_as_it_is,
    a_program_takes_the_place_of_the_first_word,
    the_environment_is_the_servers_with_what_the_run_changes,
    a_program_is_looked_for_in_the_path_of_the_run,
    a_run_has_its_own_directory_umask_and_session,
    signals_are_ignored_where_that_is_asked_for,
    a_start_that_fails_says_at_which_step_and_why,
);

fn an_argument_vector_is_run_as_it_is(on: Transport) {
    let server = on.server();
    let told = Client::run(
        &server,
        &argv(&["printf", "%s|", "a b", "$(reboot)", "", "it's"]),
    );
    assert_eq!(told.out(), "a b|$(reboot)||it's|");
}

fn a_program_takes_the_place_of_the_first_word(on: Transport) {
    let server = on.server();
    let mut request = argv(&["-my-shell", "-c", "echo $0"]);
    request.programs = vec!["/nonexistent/sh".into(), "/bin/sh".into()];
    assert_eq!(Client::run(&server, &request).out(), "-my-shell\n");
}

fn the_environment_is_the_servers_with_what_the_run_changes(on: Transport) {
    let server = on.setup().shell("export KEPT=1 GONE=1 SET=1").start();
    let mut request = line("echo $KEPT,$GONE,$SET,$NEW");
    request.environment.unset = vec!["GONE".into()];
    request.environment.set = vec!["SET=2".into(), "NEW=a=b".into()];
    assert_eq!(Client::run(&server, &request).out(), "1,,2,a=b\n");
    let mut request = argv(&["/usr/bin/env"]);
    request.environment.is_cleared = true;
    request.environment.set = vec!["ONLY=this".into()];
    assert_eq!(Client::run(&server, &request).out(), "ONLY=this\n");
}

fn a_program_is_looked_for_in_the_path_of_the_run(on: Transport) {
    let server = on.server();
    std::fs::create_dir(server.path("bin")).unwrap();
    let program = server.path("bin/only-here");
    std::fs::write(&program, "#!/bin/sh\necho found\n").unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let mut request = argv(&["only-here"]);
    assert_eq!(
        failed(&server, &request),
        ("exec".to_owned(), libc_enoent())
    );
    let path = format!("PATH=/nonexistent:{}", server.path("bin").display());
    request.environment.set = vec![path.into()];
    assert_eq!(Client::run(&server, &request).out(), "found\n");
}

fn a_run_has_its_own_directory_umask_and_session(on: Transport) {
    let server = on.server();
    let mut request = line("pwd; umask; ps -o sid= -p $$ | tr -d ' '");
    request.cwd = Some("/usr".into());
    request.umask = Some(0o27);
    request.session = true;
    let told = Client::run(&server, &request);
    assert_eq!(told.out(), format!("/usr\n0027\n{}\n", told.pid));
}

fn signals_are_ignored_where_that_is_asked_for(on: Transport) {
    let server = on.server();
    let mut request = line("kill -USR1 $$; echo lives; kill -USR2 $$; echo not");
    request.ignored_signals = vec![10];
    let told = Client::run(&server, &request);
    assert_eq!(told.out(), "lives\n");
    assert_eq!(told.exit().status.signal(), Some(12));
}

fn a_start_that_fails_says_at_which_step_and_why(on: Transport) {
    let server = on.server();
    std::fs::write(server.path("plain"), "x").unwrap();
    std::fs::write(server.path("bad"), "#!/nonexistent/interpreter\n").unwrap();
    std::fs::set_permissions(server.path("bad"), PermissionsExt::from_mode(0o755)).unwrap();
    let exec = |program: &str| failed(&server, &argv(&[program]));
    let step = |step: &str, errno: i32| (step.to_owned(), errno);
    assert_eq!(exec("/nonexistent"), step("exec", libc_enoent()));
    assert_eq!(exec("/usr"), step("exec", 13));
    assert_eq!(exec("./plain"), step("exec", 13));
    assert_eq!(exec("./bad"), step("exec", libc_enoent()));
    let chdir = |directory: &'static str| {
        let mut request = argv(&["true"]);
        request.cwd = Some(directory.into());
        failed(&server, &request)
    };
    assert_eq!(chdir("/nonexistent"), step("chdir", libc_enoent()));
    assert_eq!(chdir("/dev/null"), step("chdir", 20));
    let mut request = argv(&["true"]);
    request.process_group = 999_999_999;
    assert_eq!(failed(&server, &request).0, "setpgid");
}

/// The step and the error number.
#[track_caller]
fn failed(server: &TestServer, request: &Request) -> (String, i32) {
    let told = Client::run(server, request);
    let refusal = told.refusal();
    assert_eq!(refusal.kind, RefusalKind::CannotSpawn, "{refusal:?}");
    (refusal.step.clone().unwrap(), refusal.errno.unwrap())
}

fn libc_enoent() -> i32 {
    rustix::io::Errno::NOENT.raw_os_error()
}

/// Another user's process shares no memory with the server, and has none of its groups.
#[test]
fn a_run_of_another_user_is_that_users() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let server = Transport::Unix.server();
    let mut request = argv(&["sh", "-c", "id -u; id -g; id -G; cat"]);
    request.identity.user = Some(12345);
    request.identity.group = Some(54321);
    let told = Client::run(&server, &request);
    assert_eq!(told.out(), "12345\n54321\n54321\n");
    request.identity.supplementary_groups = Some(vec![7, 8]);
    assert_eq!(
        Client::run(&server, &request).out(),
        "12345\n54321\n54321 7 8\n"
    );
    request.programs = vec!["/nonexistent".into()];
    assert_eq!(failed(&server, &request), ("exec".to_owned(), 2));
    request.programs = Vec::new();
    std::fs::create_dir(server.path("private")).unwrap();
    let mode = PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(server.path("private"), mode).unwrap();
    request.cwd = Some(
        server
            .path("private")
            .into_os_string()
            .into_encoded_bytes()
            .into(),
    );
    assert_eq!(failed(&server, &request), ("chdir".to_owned(), 13));
    // A run of another user is ended as any other.
    request.cwd = None;
    let mut request = argv(&["sleep", "1000"]);
    request.identity.user = Some(12345);
    let mut client = Client::ask(&server, &request);
    client.wait_for_start();
    client.cancel();
    assert_eq!(client.finish().exit().status.signal(), Some(15));
}

#[test]
fn a_server_that_may_not_change_the_user_refuses() {
    let server = Transport::Unix.setup();
    let server = match rustix::process::geteuid().is_root() {
        true => server
            .shell("chmod 777 .; exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\"")
            .start(),
        false => server.start(),
    };
    let mut request = argv(&["true"]);
    request.identity.user = Some(1);
    assert_eq!(failed(&server, &request), ("setgroups".to_owned(), 1));
}
