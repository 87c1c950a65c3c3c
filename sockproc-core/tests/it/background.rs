//! `sockproc serve --daemon` and `--user`.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Output;
use std::rc::Rc;

use rustix::process::Signal;

use crate::support::{
    Daemon, Reply, Setup, Transport, binary, finish, is_alive, on_both_transports, poll_until,
    request,
};

on_both_transports!(it_is_reachable_when_its_process_id_is_printed);

/// Starts a daemon with these options and a pidfile; what the launcher said, and the daemon.
fn launch(setup: Setup) -> (String, Daemon) {
    let setup = setup.serve(["--daemon", "--pidfile", "pid"]);
    let launched = finish(setup.command());
    assert!(launched.status.success(), "{launched:?}");
    assert!(launched.stderr.is_empty(), "{launched:?}");
    let said = String::from_utf8(launched.stdout).unwrap();
    (said, Daemon::of(Rc::new(setup), None))
}

fn refused(setup: &Setup) -> Output {
    let output = finish(setup.command());
    assert!(!output.status.success(), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    output
}

fn it_is_reachable_when_its_process_id_is_printed(on: Transport) {
    let (said, daemon) = launch(on.setup());
    let mut connection = daemon.setup.address.connect().unwrap();
    assert_eq!(said, format!("{}\n", daemon.pid));
    connection.send(request("echo hi", ""));
    assert_eq!(connection.read_last_reply(), Reply::new(0, "hi\n", ""));
    drop(connection);
    daemon.signal(Signal::TERM);
    poll_until(|| !is_alive(daemon.pid));
}

#[test]
fn it_leaves_the_directory_and_finds_its_files_all_the_same() {
    let setup = Transport::Unix.setup().serve(["--listen", "other.sock"]);
    let (_, daemon) = launch(setup);
    let pid = daemon.pid;
    assert_eq!(
        fs::read_link(format!("/proc/{pid}/cwd"))
            .unwrap()
            .to_str()
            .unwrap(),
        "/"
    );
    let other = daemon.setup.dir.path().join("other.sock");
    let pidfile = daemon.setup.dir.path().join("pid");
    assert!(other.exists() && pidfile.exists());
    daemon.signal(Signal::TERM);
    poll_until(|| !is_alive(pid));
    assert!(!other.exists() && !pidfile.exists());
}

#[test]
fn the_launcher_reports_what_fails() {
    let setup = Transport::Unix.setup();
    let setup = setup.serve(["--daemon", "--listen", "/nowhere/s.sock"]);
    let output = refused(&setup);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nowhere/s.sock"));
}

#[test]
fn an_unknown_user_is_refused_by_name() {
    let setup = Transport::Unix.setup().serve(["--user", "no such user"]);
    let output = refused(&setup);
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no user \"no such user\""));
}

#[test]
fn a_user_has_its_own_groups_home_and_environment() {
    if !rustix::process::getuid().is_root() {
        // Only root can become another user; others can stay the same.
        return;
    }
    let setup = Transport::Unix.setup();
    let open = fs::Permissions::from_mode(0o777);
    fs::set_permissions(setup.dir.path(), open).unwrap();
    // A checkout may be where only root gets to.
    let reachable = setup.dir.path().join("sockproc");
    fs::copy(binary(), &reachable).unwrap();
    let setup = setup.shell("export SECRET=1 HOME=/root; shift; set -- ./sockproc \"$@\"");
    let (_, daemon) = launch(setup.serve(["--user=nobody"]));
    let socket = daemon.setup.dir.path().join("s.sock");
    assert_eq!(fs::metadata(&socket).unwrap().uid(), 65534);
    let told = daemon
        .run("id -un; id -G; echo $HOME $USER $LOGNAME $SECRET")
        .out();
    let expected = daemon.run("getent passwd nobody | cut -d: -f6").out();
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[0], "nobody");
    assert!(!lines[1].split(' ').any(|group| group == "0"), "{told}");
    assert_eq!(lines[2], format!("{} nobody nobody", expected.trim()));
    // Its user may look at it, as at any process of its own.
    let owner = fs::metadata(format!("/proc/{}/fd", daemon.pid)).unwrap();
    assert_eq!(owner.uid(), 65534);
}
