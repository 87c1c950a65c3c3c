//! A spill disk that hangs stops those who spill, and no others.

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{
    Connection, FrozenDisk, Reply, Setup, TestServer, Transport, blocked_signals, poll_until,
    request, state_of,
};

/// More than any pool of threads that blocking work might share.
const SPILLING: usize = 48;

const SPILLED_LEN: usize = 3_000_000;

#[test]
fn a_hung_spill_disk_stops_no_other_run_and_no_end_of_serve() {
    let Some(disk) = FrozenDisk::new() else {
        return;
    };
    ends_with_spilling_runs_stuck(&disk, spilling_to(&disk));
}

/// The classic server spills to /var/tmp: it gets the disk there, in a mount namespace of its own.
#[test]
fn a_hung_spill_disk_stops_no_other_run_and_no_end_of_the_classic_server() {
    let Some(disk) = FrozenDisk::new() else {
        return;
    };
    let mount = format!("mount --bind {} /var/tmp", disk.path().display());
    let setup = Transport::Unix.setup().shell(&format!(
        r#"set -- unshare --mount sh -c '{mount} && exec "$@"' sh "$@""#
    ));
    ends_with_spilling_runs_stuck(&disk, setup);
}

#[test]
fn a_server_starts_while_its_spill_disk_hangs() {
    let Some(disk) = FrozenDisk::new() else {
        return;
    };
    let frozen = disk.freeze();
    let server = spilling_to(&disk).start();
    let answer = server.run("echo hi");
    drop(frozen);
    assert_eq!(answer, Reply::new(0, "hi\n", ""));
}

/// Such a signal may come when the server has its socket and does not wait for it yet.
#[test]
fn a_thread_that_the_spill_disk_holds_up_takes_no_signal_that_ends_a_server() {
    let Some(disk) = FrozenDisk::new() else {
        return;
    };
    let frozen = disk.freeze();
    let server = spilling_to(&disk).start();
    let threads = blocked_signals(server.pid());
    drop(frozen);
    let ends = [Signal::TERM, Signal::INT].map(|signal| 1 << (signal.as_raw() - 1));
    for (thread, blocked) in threads {
        let is_blocked = ends.iter().all(|end| blocked & end != 0);
        assert!(
            thread == server.pid() || is_blocked,
            "{thread}: {blocked:x}"
        );
    }
}

/// A client that vanishes while the disk hangs leaves little behind.
#[test]
fn runs_that_are_killed_while_the_spill_disk_hangs_pile_up_no_memory() {
    let Some(disk) = FrozenDisk::new() else {
        return;
    };
    let server = Transport::Unix
        .setup()
        .serve(["--classic-on-disconnect", "kill", "--spill-dir"])
        .args([disk.path()])
        .start();
    let frozen = disk.freeze();
    for _ in 0..20 {
        let stuck = spilling(&server, 16);
        poll_until(|| writers(&server) >= 16);
        drop(stuck);
        poll_until(|| writers(&server) == 0);
    }
    let peak = crate::support::memory_kib(server.pid(), "VmHWM");
    assert!(peak < 96 << 10, "{peak} KiB");
    assert_eq!(server.run("echo hi"), Reply::new(0, "hi\n", ""));
    drop(frozen);
}

#[test]
fn a_server_whose_socket_is_on_a_hung_disk_ends_all_the_same() {
    let Some(disk) = FrozenDisk::new() else {
        return;
    };
    let socket = format!("unix:{}/sock", disk.path().display());
    let server = Transport::Unix.setup().serve(["--listen", &socket]).start();
    let frozen = disk.freeze();
    server.signal(Signal::TERM);
    // The thread that removes the name cannot even be killed: it is all that is left.
    poll_until(|| state_of(server.pid()) == Some('Z'));
    drop(frozen);
}

fn spilling_to(disk: &FrozenDisk) -> Setup {
    let setup = Transport::Unix.setup();
    setup.serve(["--spill-dir".as_ref(), disk.path().as_os_str()])
}

#[track_caller]
fn ends_with_spilling_runs_stuck(disk: &FrozenDisk, setup: Setup) {
    let mut server = setup.start();
    let mut other = server.send("echo >> started; cat\r\n5\r\n");
    server.wait_for("started");
    let frozen = disk.freeze();
    let stuck = spilling(&server, SPILLING);
    poll_until(|| writers(&server) > SPILLING);
    let begin = Instant::now();
    for _ in 0..10 {
        assert_eq!(server.run("echo hi"), Reply::new(0, "hi\n", ""));
    }
    server.signal(Signal::TERM);
    poll_until(|| !server.path("s.sock").exists());
    other.send("stdin");
    assert_eq!(other.read_last_reply(), Reply::new(0, "stdin", ""));
    assert!(begin.elapsed() < Duration::from_secs(10));
    // Once the disk goes on, they go on, and nothing is lost. All clients read at once: one that waited
    // for the others would be left after 5 s, as the server ends.
    drop(frozen);
    thread::scope(|threads| {
        for mut connection in stuck {
            threads.spawn(move || {
                let reply = connection.read_last_reply();
                assert_eq!((reply.status, reply.stdout.len()), (0, SPILLED_LEN));
            });
        }
    });
    server.wait();
}

fn spilling(server: &TestServer, count: usize) -> Vec<Connection> {
    let command = format!("exec head -c {SPILLED_LEN} /dev/zero");
    (0..count)
        .map(|_| server.send(request(&command, "")))
        .collect()
}

/// How many commands there are.
fn writers(server: &TestServer) -> usize {
    crate::support::descendants(server.pid()).len()
}
