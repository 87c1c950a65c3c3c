//! Commands whose program or directory is on a mount that hangs.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use sockproc_core::proto::{Millis, RefusalKind, Request};

use crate::native::client::{Client, argv, line};
use crate::support::{
    Connection, HungMount, Reply, Setup, TestServer, Transport, descendants, poll_until,
};

/// More than the server starts at once.
fn many() -> usize {
    thread::available_parallelism().map_or(2, usize::from) + 4
}

#[test]
fn starts_that_hang_in_exec_delay_no_other() {
    let Some(setup) = Transport::Unix.setup().with_own_mounts() else {
        return;
    };
    let server = setup.start();
    let mount = HungMount::over(Path::new("/bin/sh"), &server);
    let mut hanging: Vec<_> = (0..many()).map(|_| server.send("true\r\n0\r\n")).collect();
    poll_until(|| descendants(server.pid()).len() == hanging.len());
    // For later commands the mount is not there.
    mount.hide();
    delays_no_other(&server);
    let silent = |client: &Connection| client.is_silent_for(Duration::ZERO);
    assert!(hanging.iter().all(silent));
    drop(mount);
    for client in &mut hanging {
        client.read_last_reply().assert_refused(71 << 8);
    }
}

#[test]
fn starts_that_hang_in_chdir_delay_no_other() {
    let Some((server, place)) = with_a_place(Transport::Unix.setup().serve::<&str>([])) else {
        return;
    };
    let mount = HungMount::over(&place, &server);
    let mut hanging: Vec<_> = (0..many())
        .map(|_| Client::ask(&server, &in_directory(&place)))
        .collect();
    poll_until(|| descendants(server.pid()).len() == hanging.len());
    delays_no_other(&server);
    let silent = |client: &Client| client.connection.is_silent_for(Duration::ZERO);
    assert!(hanging.iter().all(silent));
    drop(mount);
    for client in &mut hanging {
        let told = client.finish();
        assert_eq!(told.refusal().kind, RefusalKind::CannotSpawn);
        assert_eq!(told.refusal().step.as_deref(), Some("chdir"));
    }
}

#[test]
fn a_start_that_hangs_is_given_up_at_once_and_never_executed() {
    let Some((server, place)) = with_a_place(Transport::Unix.setup().serve::<&str>([])) else {
        return;
    };
    let before = server.settled_fd_count();
    let mount = HungMount::over(&place, &server);
    let mut cancelled = Client::ask(&server, &in_directory(&place));
    let mut late = in_directory(&place);
    late.limits.queue_timeout = Millis::new(50);
    let mut late = Client::ask(&server, &late);
    let gone = Client::ask(&server, &in_directory(&place));
    poll_until(|| descendants(server.pid()).len() >= 2);
    assert_eq!(late.finish().refusal().kind, RefusalKind::QueueTimeout);
    cancelled.cancel();
    assert_eq!(cancelled.finish().refusal().kind, RefusalKind::Cancelled);
    gone.connection.vanish();
    drop((late, cancelled));
    // The mount still hangs, and nothing waits for it any more.
    poll_until(|| descendants(server.pid()).is_empty() && server.fd_count() == before);
    drop(mount);
    assert!(!server.path("executed").exists());
}

/// A process that waits for what the server of its file system has taken in does not die of SIGKILL.
#[test]
fn a_start_that_nothing_ends_keeps_its_room_until_its_mount_answers() {
    let Some((server, place)) = with_a_place(Transport::Unix.setup().serve::<&str>([])) else {
        return;
    };
    let before = server.settled_fd_count();
    let mut mount = HungMount::over(&place, &server);
    let mut client = Client::ask(&server, &in_directory(&place));
    mount.take_in(1);
    client.cancel();
    assert_eq!(client.finish().refusal().kind, RefusalKind::Cancelled);
    drop(client);
    assert_eq!(descendants(server.pid()).len(), 1);
    assert!(server.fd_count() > before);
    delays_no_other(&server);
    drop(mount);
    poll_until(|| descendants(server.pid()).is_empty() && server.fd_count() == before);
    assert!(!server.path("executed").exists());
}

#[test]
fn a_classic_start_that_hangs_is_given_up_when_its_client_goes() {
    let setup = Transport::Unix
        .setup()
        .serve(["--classic-on-disconnect", "kill"]);
    let Some(setup) = setup.with_own_mounts() else {
        return;
    };
    let server = setup.start();
    let before = server.settled_fd_count();
    let _mount = HungMount::over(Path::new("/bin/sh"), &server);
    let client = server.send("echo > executed\r\n0\r\n");
    poll_until(|| descendants(server.pid()).len() == 1);
    client.vanish();
    poll_until(|| descendants(server.pid()).is_empty() && server.fd_count() == before);
}

#[test]
fn a_server_ends_while_starts_hang_that_nothing_ends() {
    let setup = Transport::Unix.setup().serve(["--drain-timeout", "0"]);
    let Some((mut server, place)) = with_a_place(setup) else {
        return;
    };
    let mut mount = HungMount::over(&place, &server);
    let mut client = Client::ask(&server, &in_directory(&place));
    let mut request = line("echo");
    request.cwd = in_directory(&place).cwd;
    let mut other = Client::ask(&server, &request);
    mount.take_in(2);
    server.signal(Signal::TERM);
    for client in [&mut client, &mut other] {
        assert_eq!(client.finish().refusal().kind, RefusalKind::ShuttingDown);
    }
    drop((client, other));
    assert_eq!(server.wait().code(), Some(0));
    drop(mount);
}

/// A server with mounts of its own, and a directory to mount something over.
fn with_a_place(setup: Setup) -> Option<(TestServer, PathBuf)> {
    let server = setup.with_own_mounts()?.start();
    let place = server.path("place");
    fs::create_dir(&place).unwrap();
    Some((server, place))
}

/// A command that leaves a trace if it is ever executed.
fn in_directory(place: &Path) -> Request {
    let trace = place.with_file_name("executed");
    let mut request = argv(&["touch", trace.to_str().unwrap()]);
    request.cwd = Some(place.to_str().unwrap().to_owned().into());
    request
}

/// Once it is seen that starts hang, the others do not wait at all. What else runs on the machine may
/// delay one of them, but not all.
#[track_caller]
fn delays_no_other(server: &TestServer) {
    poll_until(|| {
        let begin = Instant::now();
        assert_eq!(server.run("echo hi"), Reply::new(0, "hi\n", ""));
        begin.elapsed() < Duration::from_millis(20)
    });
}
