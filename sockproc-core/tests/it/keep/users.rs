//! How the daemon's users start it, find it and stop it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use crate::support::{Reply, Transport, binary, finish, on_both_transports, poll_until};

on_both_transports!(
    start_stop_daemon_finds_it_by_its_name,
    systemd_finds_one_process_after_the_launcher_has_returned,
);

#[test]
fn auto_ssl_restarts_it_from_a_capturing_shell_without_waiting() {
    let mut daemon = Transport::Unix.setup().launch();
    for _ in 0..5 {
        let mut running = daemon.start_echo(3);
        running.send("o");
        let launcher = finish(auto_ssl_start(daemon.setup.dir.path()));
        assert_eq!(String::from_utf8_lossy(&launcher.stdout), "captured <>\n", "{launcher:?}");
        let new = daemon.successor();
        assert_eq!(new.run("echo new").out(), "new\n");
        running.send("ld");
        assert_eq!(running.read_last_reply(), Reply::new(0, "old", ""));
        daemon = new;
    }
}

#[test]
fn the_socket_can_be_given_away_right_at_return() {
    let daemon = Transport::Unix.setup().launch();
    let socket = daemon.setup.dir.path().join("s.sock");
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o600)).unwrap();
    let me = fs::metadata("/proc/self").unwrap();
    std::os::unix::fs::chown(&socket, Some(me.uid()), Some(me.gid())).unwrap();
    assert_eq!(daemon.run("echo hi").out(), "hi\n");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
}

/// `start-stop-daemon --name sockproc` compares this file.
fn start_stop_daemon_finds_it_by_its_name(on: Transport) {
    let daemon = on.setup().launch();
    let name = fs::read_to_string(format!("/proc/{}/comm", daemon.pid)).unwrap();
    let file = binary().file_name().unwrap().to_str().unwrap().to_owned();
    assert_eq!(name.trim_end(), &file[..file.len().min(15)]);
}

/// `Type=forking` without `PIDFile=` guesses the main process: there must be one only.
fn systemd_finds_one_process_after_the_launcher_has_returned(on: Transport) {
    let daemon = on.setup().launch();
    poll_until(|| daemon.session_size() == 1);
    assert!(daemon.is_alive());
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
    shell.args(["-c", "out=$(umask 0022; sh -c \"$@\" 2>&1); echo \"captured <$out>\"", "sh", script, "sh"]);
    shell.arg(dir.join("s.sock")).arg(dir.join("pid")).arg(binary());
    shell
}
