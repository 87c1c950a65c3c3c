//! How a server starts, ends, and what it leaves.

use std::fs;
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;

use rustix::process::Signal;

use crate::support::{
    Address, Reply, TestServer, Transport, descendants, finish, is_alive, on_both_transports,
    poll_until, session_of,
};

on_both_transports!(
    the_launcher_returns_with_the_socket_already_listening,
    the_daemon_lives_in_a_session_of_its_own,
    the_daemon_lives_in_the_root_directory,
    the_daemons_standard_streams_are_dev_null,
    the_daemon_is_one_process_when_idle,
    the_daemon_ends_on_sigterm_and_removes_its_files,
    sigterm_removes_the_files_lets_commands_answer_and_ends_by_that_signal,
    sigint_removes_the_files_lets_commands_answer_and_ends_by_that_signal,
    a_restart_on_the_same_address_works_at_once,
    a_restart_works_while_the_old_servers_commands_still_run,
    a_second_server_on_the_same_address_is_told_before_it_daemonizes,
    no_zombies_and_no_processes_are_left,
    nothing_is_left_over_on_disk,
);

#[test]
fn tcp_listens_on_127_0_0_1_only() {
    let server = Transport::Tcp.server();
    let Address::Tcp(port) = server.address else {
        unreachable!()
    };
    assert!(TcpStream::connect(("127.0.0.2", port)).is_err());
    let listening = |table: &str| {
        let rows = fs::read_to_string(table).unwrap_or_default();
        let ours = format!(":{port:04X} ");
        rows.lines()
            .filter(|row| row.contains(&ours) && row.contains(" 0A "))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let rows = listening("/proc/net/tcp");
    assert!(
        rows.len() == 1 && rows[0].contains(&format!(" 0100007F:{port:04X} 00000000:0000 0A")),
        "{rows:?}"
    );
    assert!(listening("/proc/net/tcp6").is_empty());
}

#[test]
fn a_socket_in_a_missing_directory_is_told_before_it_daemonizes() {
    let mut setup = Transport::Unix.setup();
    setup.address = Address::Unix(setup.dir.path().join("nosuch/s.sock"));
    let launcher = finish(setup.command());
    assert!(
        !launcher.status.success() && !launcher.stderr.is_empty(),
        "{launcher:?}"
    );
}

fn the_launcher_returns_with_the_socket_already_listening(on: Transport) {
    for _ in 0..10 {
        // `launch` connects once the launcher has returned, and does not try again.
        let daemon = on.setup().launch();
        assert_eq!(daemon.run("echo hi").out(), "hi\n");
    }
}

fn the_daemon_lives_in_a_session_of_its_own(on: Transport) {
    let daemon = on.setup().launch();
    assert_eq!(session_of(daemon.pid), Some(daemon.pid));
    assert_ne!(session_of(daemon.pid), session_of(std::process::id()));
}

fn the_daemon_lives_in_the_root_directory(on: Transport) {
    let daemon = on.setup().launch();
    assert_eq!(
        fs::read_link(format!("/proc/{}/cwd", daemon.pid))
            .unwrap()
            .to_str(),
        Some("/")
    );
    assert_eq!(daemon.run("pwd").out(), "/\n");
}

fn the_daemons_standard_streams_are_dev_null(on: Transport) {
    let daemon = on.setup().launch();
    for fd in 0..3 {
        let target = fs::read_link(format!("/proc/{}/fd/{fd}", daemon.pid)).unwrap();
        assert_eq!(target.to_str(), Some("/dev/null"), "descriptor {fd}");
    }
}

fn the_daemon_is_one_process_when_idle(on: Transport) {
    let daemon = on.setup().launch();
    assert_eq!(daemon.run("true").status, 0);
    poll_until(|| daemon.session_size() == 1 && descendants(daemon.pid).is_empty());
}

fn the_daemon_ends_on_sigterm_and_removes_its_files(on: Transport) {
    let daemon = on.setup().launch();
    assert_eq!(daemon.run("echo hi").out(), "hi\n");
    daemon.signal(Signal::TERM);
    poll_until(|| !daemon.is_alive());
    assert_eq!(fs::read_dir(daemon.setup.dir.path()).unwrap().count(), 0);
}

fn sigterm_removes_the_files_lets_commands_answer_and_ends_by_that_signal(on: Transport) {
    ends_by(on, Signal::TERM);
}

fn sigint_removes_the_files_lets_commands_answer_and_ends_by_that_signal(on: Transport) {
    ends_by(on, Signal::INT);
}

fn ends_by(on: Transport, signal: Signal) {
    let mut server = on.setup().args(["pid"]).start();
    let mut running = server.send("echo > started; cat\r\n3\r\n");
    server.wait_for("started");
    server.signal(signal);
    poll_until(|| !server.path("s.sock").exists() && !server.path("pid").exists());
    poll_until(|| server.address.connect().is_err());
    running.send("end");
    assert_eq!(running.read_last_reply(), Reply::new(0, "end", ""));
    assert_eq!(server.wait().signal(), Some(signal.as_raw()));
}

fn a_restart_on_the_same_address_works_at_once(on: Transport) {
    let daemon = on.setup().launch();
    for _ in 0..5 {
        // The server's end closes first, so TCP keeps the port in TIME_WAIT.
        assert_eq!(daemon.run("echo hi").out(), "hi\n");
    }
    daemon.signal(Signal::TERM);
    poll_until(|| !daemon.is_alive());
    let launcher = finish(daemon.setup.command());
    assert!(launcher.status.success(), "{launcher:?}");
    let again = daemon.successor();
    assert_eq!(again.run("echo again").out(), "again\n");
}

fn a_restart_works_while_the_old_servers_commands_still_run(on: Transport) {
    let old = on.setup().launch();
    let mut running = old.start_echo(3);
    running.send("o");
    old.signal(Signal::TERM);
    poll_until(|| !old.setup.address.is_served());
    let launcher = finish(old.setup.command());
    assert!(launcher.status.success(), "{launcher:?}");
    let new = old.successor();
    assert_eq!(new.run("echo new").out(), "new\n");
    running.send("ld");
    assert_eq!(running.read_last_reply(), Reply::new(0, "old", ""));
    assert_eq!(new.run("echo new").out(), "new\n");
}

fn a_second_server_on_the_same_address_is_told_before_it_daemonizes(on: Transport) {
    let daemon = on.setup().launch();
    let second = finish(daemon.setup.command());
    assert!(
        !second.status.success() && !second.stderr.is_empty(),
        "{second:?}"
    );
    assert_eq!(daemon.run("echo first").out(), "first\n");
}

fn no_zombies_and_no_processes_are_left(on: Transport) {
    let server = on.server();
    for command in [
        "true",
        "exit 3",
        "kill -9 $$",
        "sleep 0.01 & sleep 0.02 & wait",
        "(sleep 0.1) >/dev/null 2>&1 &",
    ] {
        server.run(command);
    }
    drop(server.send("sleep 0.1\r\n0\r\n"));
    poll_until(|| descendants(server.pid()).is_empty());
}

fn nothing_is_left_over_on_disk(on: Transport) {
    let mut server = on.setup().args(["pid"]).start();
    poll_until(|| server.path("pid").exists());
    server.run("head -c 3000000 /dev/zero");
    stop(&mut server);
    let left: Vec<_> = fs::read_dir(server.dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["log"]);
}

fn stop(server: &mut TestServer) {
    let pid = server.pid();
    server.signal(Signal::TERM);
    server.wait();
    assert!(!is_alive(pid));
}
