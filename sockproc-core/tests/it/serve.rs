//! `sockproc serve` and its options.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;

use rustix::process::Signal;

use crate::support::{
    A_WHILE, Address, Doomed, Reply, TestServer, Transport, finish, is_alive, on_both_transports,
    poll_until, request,
};

on_both_transports!(
    it_stays_in_the_foreground_and_answers,
    it_ends_with_exit_code_0_when_it_is_told_to,
    linger_ends_a_run_whose_background_child_holds_its_streams,
    linger_takes_all_that_was_written_before_the_exit,
    on_disconnect_kill_ends_the_command_of_a_vanished_client,
    on_disconnect_finish_is_the_default,
    commands_that_outlast_the_drain_timeout_are_ended,
    a_second_signal_ends_what_still_runs,
    no_command_ends_the_server_by_a_signal_but_those_two,
    log_off_says_nothing_and_log_info_tells_each_run,
    the_log_tells_nothing_of_stdin_or_the_environment,
);

#[test]
fn listen_can_be_given_several_times() {
    let tcp = Transport::Tcp.setup();
    let setup = Transport::Unix.setup();
    let second = setup.dir.path().join("second.sock");
    let listen = format!("unix:{}", second.display());
    let full = tcp.address.full();
    let server = setup
        .serve(["--listen", &listen, "--listen", full.to_str().unwrap()])
        .start();
    poll_until(|| tcp.address.is_served());
    for address in [
        &server.address,
        &Address::Unix(second.clone()),
        &tcp.address,
    ] {
        let mut connection = address.connect().unwrap();
        connection.send(request("echo hi", ""));
        assert_eq!(connection.read_last_reply(), Reply::new(0, "hi\n", ""));
    }
    server.signal(Signal::TERM);
    poll_until(|| !server.path("s.sock").exists() && !second.exists());
}

#[test]
fn if_one_address_cannot_be_bound_no_address_is_served() {
    let setup = Transport::Unix
        .setup()
        .serve(["--listen", "unix:/nonexistent/s.sock"]);
    let output = finish(setup.command());
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("/nonexistent/s.sock"),
        "{output:?}"
    );
    assert!(!setup.dir.path().join("s.sock").exists());
}

#[test]
fn mode_is_exact_whatever_the_umask_is() {
    for (umask, mode, bits) in [
        ("077", "0666", 0o666),
        ("0", "600", 0o600),
        ("022", "0777", 0o777),
        ("0", "0", 0),
    ] {
        let setup = Transport::Unix
            .setup()
            .shell(&format!("umask {umask}"))
            .serve(["--mode", mode]);
        let path = setup.dir.path().join("s.sock");
        let server = setup.start();
        let metadata = fs::metadata(path).unwrap();
        assert!(metadata.file_type().is_socket());
        assert_eq!(
            metadata.permissions().mode() & 0o7777,
            bits,
            "umask {umask}, mode {mode}"
        );
        // Commands get the umask that the server was started with.
        assert_eq!(
            server.run("umask").out().trim().trim_start_matches('0'),
            umask.trim_start_matches('0')
        );
    }
}

#[test]
fn owner_is_set_by_name_or_number() {
    let me = fs::metadata("/proc/self").unwrap();
    let mut owners = vec![
        (me.uid().to_string(), (me.uid(), me.gid())),
        (format!("{}:{}", me.uid(), me.gid()), (me.uid(), me.gid())),
    ];
    if me.uid() == 0 {
        // Only root may give a socket away.
        owners.extend([
            ("12345:54321".into(), (12345, 54321)),
            (":54321".into(), (0, 54321)),
            ("daemon".into(), (1, 0)),
        ]);
    }
    for (owner, ids) in owners {
        let server = Transport::Unix.setup().serve(["--owner", &owner]).start();
        let metadata = fs::metadata(server.path("s.sock")).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), ids, "{owner}");
    }
}

fn it_stays_in_the_foreground_and_answers(on: Transport) {
    let mut server = on.setup().serve::<&str>([]).start();
    assert_eq!(
        server.run_with("cat; echo err >&2; exit 3", "in"),
        Reply::new(768, "in", "err\n")
    );
    assert!(server.process.try_wait().unwrap().is_none());
}

fn it_ends_with_exit_code_0_when_it_is_told_to(on: Transport) {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = on.setup().serve(["--pidfile", "pid"]).start();
        poll_until(|| server.read("pid") == server.pid().to_string());
        let mut running = started(&server, "cat", 1);
        server.signal(signal);
        poll_until(|| !server.path("s.sock").exists() && !server.path("pid").exists());
        running.send("x");
        assert_eq!(running.read_last_reply(), Reply::new(0, "x", ""));
        let status = server.wait();
        assert_eq!((status.code(), status.signal()), (Some(0), None));
    }
}

fn linger_ends_a_run_whose_background_child_holds_its_streams(on: Transport) {
    let server = on.setup().serve(["--classic-linger", "1000"]).start();
    let reply = server.run("sleep 1000 & echo $! hi; exit 3");
    assert_eq!(
        (reply.status, reply.out().ends_with(" hi\n")),
        (768, true),
        "{reply:?}"
    );
    // It gets no signal of ours.
    let child = Doomed(reply.out().split(' ').next().unwrap().parse().unwrap());
    assert!(is_alive(child.0));
}

fn linger_takes_all_that_was_written_before_the_exit(on: Transport) {
    let server = on.setup().serve(["--classic-linger", "0"]).start();
    for _ in 0..50 {
        assert_eq!(server.run("head -c 60000 /dev/zero").stdout.len(), 60_000);
    }
    let server = on.setup().serve(["--classic-linger", "1000"]).start();
    let mut slow = server.send(request(
        "sleep 1000 & echo $!; head -c 9000000 /dev/zero",
        "",
    ));
    std::thread::sleep(A_WHILE);
    let reply = slow.read_last_reply();
    let end_of_line = reply.stdout.iter().position(|&byte| byte == b'\n').unwrap();
    let (pid, zeros) = reply.stdout.split_at(end_of_line);
    let _child = Doomed(str::from_utf8(pid).unwrap().parse().unwrap());
    assert_eq!(zeros.len() - 1, 9_000_000);
}

fn on_disconnect_kill_ends_the_command_of_a_vanished_client(on: Transport) {
    let server = on
        .setup()
        .serve(["--classic-on-disconnect", "kill"])
        .start();
    for command in [
        "exec sleep 1000",
        "sleep 1000; :",
        "trap '' TERM; sleep 1000; sleep 1000",
        "exec >&- 2>&-; sleep 1000; :",
    ] {
        let connection = server.send(request(format!("echo $$ > pid; {command}"), ""));
        let pid = server.wait_for("pid").trim().parse().unwrap();
        fs::remove_file(server.path("pid")).unwrap();
        connection.vanish();
        poll_until(|| !is_alive(pid));
        poll_until(|| crate::support::descendants(server.pid()).is_empty());
    }
    // Who only half-closes is still there.
    let mut half_closed = server.send(request("sleep 0.3; echo out", ""));
    half_closed.half_close();
    assert_eq!(half_closed.read_last_reply(), Reply::new(0, "out\n", ""));
}

fn on_disconnect_finish_is_the_default(on: Transport) {
    for options in [&[][..], &["--classic-on-disconnect", "finish"]] {
        let server = on.setup().serve(options).start();
        server
            .send(request("sleep 0.3; echo yes > ran", ""))
            .vanish();
        assert_eq!(server.wait_for("ran"), "yes\n");
    }
}

fn commands_that_outlast_the_drain_timeout_are_ended(on: Transport) {
    let mut server = on.setup().serve(["--drain-timeout", "1"]).start();
    let mut polite = started(&server, "exec sleep 1000", 0);
    let mut stubborn = started(
        &server,
        "trap '' TERM; sleep 1000; sleep 1000; sleep 1000",
        0,
    );
    server.signal(Signal::TERM);
    assert_eq!(polite.read_last_reply().status, 15);
    assert!(matches!(stubborn.read_last_reply().status, 9 | 0));
    assert_eq!(server.wait().code(), Some(0));
}

fn a_second_signal_ends_what_still_runs(on: Transport) {
    let mut server = on.setup().serve::<&str>([]).start();
    let mut running = started(&server, "exec sleep 1000", 0);
    server.signal(Signal::TERM);
    poll_until(|| server.address.connect().is_err());
    assert!(running.is_silent_for(A_WHILE));
    server.signal(Signal::TERM);
    assert_eq!(running.read_last_reply().status, 15);
    assert_eq!(server.wait().code(), Some(0));
}

fn log_off_says_nothing_and_log_info_tells_each_run(on: Transport) {
    let silent = on.setup().serve(["--log", "off"]).start();
    Reply::parse(&silent.exchange("\0")).assert_refused(64 << 8);
    assert_eq!(silent.log(), "");
    let quiet = on.setup().serve::<&str>([]).start();
    assert_eq!(quiet.run("exit 3").status, 768);
    assert_eq!(quiet.log(), "");
    let telling = on.setup().serve(["--log", "info"]).start();
    let pid = telling.run("echo $$; exit 3").out();
    poll_until(|| {
        telling
            .log()
            .lines()
            .any(|line| line.contains(pid.trim()) && line.contains('3'))
    });
}

fn the_log_tells_nothing_of_stdin_or_the_environment(on: Transport) {
    let server = on
        .setup()
        .shell("SECRET=hush-environment; export SECRET")
        .serve(["--log", "trace"])
        .start();
    server.run_with("cat >/dev/null; exit 3", "hush-stdin");
    Reply::parse(&server.exchange("true\0\r\n10\r\nhush-stdin")).assert_refused(64 << 8);
    poll_until(|| server.log().contains("refused"));
    assert!(!server.log().contains("hush"), "{}", server.log());
}

/// The terminal of who runs this test may have some signals of its own.
fn no_command_ends_the_server_by_a_signal_but_those_two(on: Transport) {
    for server in [on.setup().serve::<&str>([]).start(), on.server()] {
        for signal in [
            "USR1", "USR2", "ALRM", "PROF", "XCPU", "PIPE", "IO", "PWR", "34", "64",
        ] {
            let reply = server.run(format!("kill -{signal} $PPID; echo up"));
            assert_eq!(reply, Reply::new(0, "up\n", ""), "{signal}");
        }
        // Commands have the defaults.
        for (signal, number) in [("USR1", 10), ("ALRM", 14), ("XCPU", 24)] {
            let reply = server.run(format!("ulimit -c 0; kill -{signal} $$; sleep 1000"));
            assert_eq!(reply.status & 0x7f, number, "{signal}");
        }
    }
}

/// A command that runs already.
fn started(server: &TestServer, command: &str, stdin: usize) -> crate::support::Connection {
    let _ = fs::remove_file(server.path("started"));
    let connection = server.send(format!("echo > started; {command}\r\n{stdin}\r\n"));
    server.wait_for("started");
    connection
}
