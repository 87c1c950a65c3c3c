//! One server after another on the same address.

use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use crate::support::{Daemon, Reply, Transport, binary, finish, on_both_transports, poll_until};

on_both_transports!(
    the_pidfile_is_there_when_the_launcher_returns_and_names_a_living_process,
    a_late_ending_server_leaves_its_successors_pidfile,
);

#[test]
fn auto_ssl_restarts_it_from_a_capturing_shell_without_waiting() {
    let mut daemon = Transport::Unix.setup().launch();
    for _ in 0..10 {
        let mut running = daemon.start_echo(3);
        running.send("o");
        let launcher = finish(auto_ssl_start(daemon.setup.dir.path()));
        assert_eq!(
            String::from_utf8_lossy(&launcher.stdout),
            "captured <>\n",
            "{launcher:?}"
        );
        let new = daemon.successor();
        assert_eq!(new.run("echo new").out(), "new\n");
        running.send("ld");
        assert_eq!(running.read_last_reply(), Reply::new(0, "old", ""));
        ended_leaving(&daemon, &new);
        daemon = new;
    }
}

#[test]
fn a_late_ending_server_leaves_its_successors_socket() {
    // The socket is removed by hand. The old server does not know that, and ends last.
    let old = Transport::Unix.setup().launch();
    fs::remove_file(old.setup.dir.path().join("s.sock")).unwrap();
    fs::remove_file(old.setup.dir.path().join("pid")).unwrap();
    assert!(finish(old.setup.command()).status.success());
    let new = old.successor();
    old.signal(Signal::TERM);
    ended_leaving(&old, &new);
    new.signal(Signal::TERM);
    poll_until(|| !new.is_alive());
    assert_eq!(fs::read_dir(new.setup.dir.path()).unwrap().count(), 0);
}

fn a_late_ending_server_leaves_its_successors_pidfile(on: Transport) {
    let old = on.setup().launch();
    let mut running = old.start_echo(3);
    old.signal(Signal::TERM);
    poll_until(|| !old.setup.address.is_served());
    assert!(finish(old.setup.command()).status.success());
    let new = old.successor();
    running.send("end");
    assert_eq!(running.read_last_reply().out(), "end");
    ended_leaving(&old, &new);
}

fn the_pidfile_is_there_when_the_launcher_returns_and_names_a_living_process(on: Transport) {
    for _ in 0..10 {
        let setup = on.setup();
        let pidfile = setup.dir.path().join("pid");
        let setup = setup.args([&pidfile]);
        assert!(finish(setup.command()).status.success());
        let at_return = fs::read_to_string(&pidfile).expect("a pidfile");
        let daemon = Daemon::of(setup.into(), None);
        assert_eq!(at_return, daemon.pid.to_string());
        assert!(daemon.is_alive());
    }
}

/// The old server ends, and the new one still has its address and pidfile.
fn ended_leaving(old: &Daemon, new: &Daemon) {
    poll_until(|| !old.is_alive());
    assert_eq!(
        fs::read_to_string(new.setup.dir.path().join("pid")).unwrap(),
        new.pid.to_string()
    );
    assert_eq!(new.run("echo new").out(), "new\n");
}

/// lua-resty-auto-ssl's `start_sockproc`, as nginx runs it: through a shell that captures both streams, descriptors above 2 closed.
fn auto_ssl_start(dir: &Path) -> Command {
    let script = r#"
        cd / || true
        for fd in 3 4 5 6 7 8 9; do eval "exec $fd>&-"; done
        if [ -e "$2" ]; then
          PID=$(cat "$2")
          kill "$PID" || true
        fi
        rm -f "$1" || true
        "$3" "$1" "$2"
    "#;
    let mut shell = Command::new("/bin/sh");
    shell.args([
        "-c",
        "out=$(umask 0022; sh -c \"$@\" 2>&1); echo \"captured <$out>\"",
        "sh",
        script,
        "sh",
    ]);
    shell
        .arg(dir.join("s.sock"))
        .arg(dir.join("pid"))
        .arg(binary());
    shell
}
