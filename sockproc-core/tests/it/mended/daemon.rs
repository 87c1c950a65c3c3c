//! A daemon that its surroundings, and its commands, cannot hurt.

use std::fs;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::Signal;

use crate::support::{Address, Daemon, Reply, Transport, finish, on_both_transports, poll_until};

on_both_transports!(
    kill_0_in_a_command_ends_that_command_alone,
    each_command_has_a_process_group_of_its_own,
    started_with_closed_standard_streams_it_works,
    as_a_daemon_started_with_closed_standard_streams_it_works,
    descriptors_that_it_inherits_do_not_reach_commands,
    signals_that_it_inherits_as_ignored_are_not_so_for_commands,
    a_relative_pidfile_is_resolved_where_the_daemon_was_started,
    idle_connections_are_closed_on_sigterm,
);

#[test]
fn a_relative_socket_is_resolved_where_the_daemon_was_started() {
    let mut setup = Transport::Unix.setup().args(["pid"]);
    let dir = setup.dir.path().to_owned();
    setup.address = Address::Unix("s.sock".into());
    let launcher = finish(setup.command());
    assert!(launcher.status.success(), "{launcher:?}");
    setup.address = Address::Unix(dir.join("s.sock"));
    let daemon = Daemon::of(setup.into(), None);
    assert_eq!(daemon.run("pwd").out(), "/\n");
    daemon.signal(Signal::TERM);
    poll_until(|| !daemon.is_alive());
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
}

#[test]
fn three_hundred_clients_connect_while_it_cannot_accept() {
    let limit: usize = fs::read_to_string("/proc/sys/net/core/somaxconn")
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let clients = limit.min(300);
    let server = Transport::Unix.server();
    server.signal(Signal::STOP);
    let address = SocketAddrUnix::new(server.path("s.sock")).unwrap();
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let sockets: Vec<_> = (0..clients)
        .map(|_| {
            let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
            connect(&socket, &address).map(|()| socket)
        })
        .collect();
    server.signal(Signal::CONT);
    let refused = sockets.iter().filter(|socket| socket.is_err()).count();
    assert_eq!(refused, 0, "of {clients}");
    assert_eq!(server.run("echo hi").out(), "hi\n");
}

fn kill_0_in_a_command_ends_that_command_alone(on: Transport) {
    let server = on.setup().in_own_group().start();
    let mut other = server.send("cat\r\n1\r\n");
    assert_eq!(server.run("kill 0").status, 15);
    assert_eq!(server.run("kill -9 0").status, 9);
    assert_eq!(server.run("trap '' TERM; kill 0; exit 3").status, 3 << 8);
    other.send("x");
    assert_eq!(other.read_last_reply(), Reply::new(0, "x", ""));
}

fn each_command_has_a_process_group_of_its_own(on: Transport) {
    let server = on.server();
    for _ in 0..3 {
        let out = server.run("echo $$; cut -d' ' -f5 /proc/$$/stat").out();
        let (pid, group) = out.trim().split_once('\n').unwrap();
        assert_eq!(pid, group);
    }
}

fn started_with_closed_standard_streams_it_works(on: Transport) {
    for closed in ["<&- >&- 2>&-", "<&-", ">&- 2>&-"] {
        let server = on.setup().shell(&format!("exec {closed}")).start();
        let reply = server.run_with("cat; echo err >&2; ls /proc/$$/fd; :", "in\n");
        assert_eq!(reply, Reply::new(0, "in\n0\n1\n2\n", "err\n"), "{closed}");
    }
}

fn as_a_daemon_started_with_closed_standard_streams_it_works(on: Transport) {
    let daemon = on.setup().shell("exec <&- >&- 2>&-").launch();
    let mut connection = daemon.send("cat; echo err >&2; ls /proc/$$/fd; :\r\n3\r\nin\n");
    assert_eq!(
        connection.read_last_reply(),
        Reply::new(0, "in\n0\n1\n2\n", "err\n")
    );
}

fn descriptors_that_it_inherits_do_not_reach_commands(on: Transport) {
    let server = on
        .setup()
        .shell("exec 3</dev/null 7>/dev/null 9<&0")
        .start();
    assert_eq!(server.run("ls /proc/$$/fd; :").out(), "0\n1\n2\n");
    let daemon = on
        .setup()
        .shell("exec 3</dev/null 7>/dev/null 9<&0")
        .launch();
    assert_eq!(daemon.run("ls /proc/$$/fd; :").out(), "0\n1\n2\n");
}

fn signals_that_it_inherits_as_ignored_are_not_so_for_commands(on: Transport) {
    // nohup ignores SIGHUP, CPython SIGPIPE and SIGXFSZ, some supervisors SIGCHLD.
    let server = on
        .setup()
        .shell("trap '' HUP INT QUIT PIPE XFSZ CHLD USR1 TSTP TTIN TTOU ALRM")
        .start();
    let ignored = server.run("grep SigIgn /proc/self/status").out();
    let mask = u64::from_str_radix(ignored.split_whitespace().nth(1).unwrap(), 16).unwrap();
    assert_eq!(mask, 0, "{ignored}");
    assert_eq!(server.run("exit 3").status, 3 << 8);
    assert_eq!(server.run("kill -HUP $$").status, 1);
}

fn a_relative_pidfile_is_resolved_where_the_daemon_was_started(on: Transport) {
    let setup = on.setup().args(["pid"]);
    let launcher = finish(setup.command());
    assert!(launcher.status.success(), "{launcher:?}");
    let daemon = Daemon::of(setup.into(), None);
    daemon.signal(Signal::TERM);
    poll_until(|| !daemon.is_alive());
    assert_eq!(fs::read_dir(daemon.setup.dir.path()).unwrap().count(), 0);
}

fn idle_connections_are_closed_on_sigterm(on: Transport) {
    let mut server = on.server();
    let mut idle = vec![
        server.connect(),
        server.send("half a comm"),
        server.send("echo a whole one\r\n"),
    ];
    let mut running = server.send("echo > started; cat\r\n1\r\n");
    server.wait_for("started");
    server.signal(Signal::TERM);
    for connection in &mut idle {
        poll_until(|| connection.has_ended());
    }
    running.send("x");
    assert_eq!(running.read_last_reply(), Reply::new(0, "x", ""));
    server.wait();
}
