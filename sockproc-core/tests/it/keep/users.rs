//! How the daemon's users start it, find it and stop it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use crate::support::{Transport, binary, on_both_transports, poll_until};

on_both_transports!(
    start_stop_daemon_finds_it_by_its_name,
    systemd_finds_one_process_after_the_launcher_has_returned,
);

#[test]
fn the_socket_can_be_given_away_right_at_return() {
    let daemon = Transport::Unix.setup().launch();
    let socket = daemon.setup.dir.path().join("s.sock");
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o600)).unwrap();
    let me = fs::metadata("/proc/self").unwrap();
    std::os::unix::fs::chown(&socket, Some(me.uid()), Some(me.gid())).unwrap();
    assert_eq!(daemon.run("echo hi").out(), "hi\n");
    assert_eq!(
        fs::metadata(&socket).unwrap().permissions().mode() & 0o777,
        0o600
    );
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
