//! Large answers wait on disk, within bounds.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use crate::support::{
    A_WHILE, Reply, TestServer, Transport, finish, memory_kib, on_both_transports, poll_until,
    request,
};

on_both_transports!(
    two_gib_of_output_cost_the_server_little_memory,
    a_spill_that_cannot_be_written_ends_that_run_alone,
);

fn two_gib_of_output_cost_the_server_little_memory(on: Transport) {
    let server = on.server();
    // 2 GiB by `SOCKPROC_TEST_OUTPUT=2147483648`: the default spares the disk.
    let length: u64 =
        std::env::var("SOCKPROC_TEST_OUTPUT").map_or(400_000_000, |length| length.parse().unwrap());
    let mut connection = server.send(request(format!("head -c {length} /dev/zero"), ""));
    let frame = format!("status:0\r\n{length}\r\n0\r\n").len() as u64;
    assert_eq!(connection.skip_to_end(), length + frame);
    let peak = memory_kib(server.pid(), "VmHWM");
    assert!(peak < 64 << 10, "{peak} KiB");
}

/// The kernel stops the server's own files at a megabyte, as a full disk would.
fn a_spill_that_cannot_be_written_ends_that_run_alone(on: Transport) {
    let server = on.setup().shell("ulimit -f 2048").start();
    let mut other = server.send("cat\r\n1\r\n");
    let reply = server.run("head -c 20000000 /dev/zero; echo end >&2");
    assert!(
        reply.status != 0 || reply.stdout.len() == 20_000_000,
        "{reply:?}"
    );
    if reply.status != 0 {
        assert!(reply.err().contains("sockproc: "), "{reply:?}");
    }
    other.send("x");
    assert_eq!(other.read_last_reply(), Reply::new(0, "x", ""));
    assert_eq!(server.run("echo still here").out(), "still here\n");
}

#[test]
fn a_spill_directory_that_is_missing_or_unwritable_is_told_at_start() {
    for spill in ["/nonexistent/spill", "/proc", "/dev/null"] {
        let output = finish(
            Transport::Unix
                .setup()
                .serve(["--spill-dir", spill])
                .command(),
        );
        assert!(!output.status.success());
        assert!(
            String::from_utf8_lossy(&output.stderr).contains(spill),
            "{output:?}"
        );
    }
}

#[test]
fn a_spill_directory_that_vanishes_ends_the_run_that_needs_it_alone() {
    let setup = Transport::Unix.setup();
    let spill = setup.dir.path().join("spill");
    fs::create_dir(&spill).unwrap();
    let server = setup
        .serve(["--spill-dir".as_ref(), spill.as_os_str()])
        .start();
    fs::remove_dir(&spill).unwrap();
    assert_eq!(
        server.run("head -c 1000000 /dev/zero").stdout.len(),
        1_000_000
    );
    let reply = server.run("head -c 20000000 /dev/zero; sleep 1000");
    assert!(
        reply.status != 0 && reply.err().contains("sockproc: "),
        "{reply:?}"
    );
    assert_eq!(server.run("echo still here").out(), "still here\n");
}

#[test]
fn spill_files_have_no_names_and_end_with_their_run() {
    let setup = Transport::Unix.setup();
    let spill = setup.dir.path().join("spill");
    fs::create_dir(&spill).unwrap();
    let server = setup
        .serve(["--spill-dir".as_ref(), spill.as_os_str()])
        .start();
    // Once it answers it has opened all that it keeps open.
    assert_eq!(server.run("echo hi").out(), "hi\n");
    let fds = server.fd_count();
    let mut connection = server.send(request(
        "head -c 20000000 /dev/zero; head -c 20000000 /dev/zero >&2",
        "",
    ));
    connection.read_exactly(1 << 20);
    assert_eq!(fs::read_dir(&spill).unwrap().count(), 0);
    connection.skip_to_end();
    drop(connection);
    poll_until(|| server.fd_count() <= fds);
    assert_eq!(fs::read_dir(&spill).unwrap().count(), 0);
}

#[test]
fn yes_ends_at_max_spill() {
    let server = Transport::Unix
        .setup()
        .serve(["--max-spill", "10000000"])
        .start();
    for command in [
        "yes",
        "exec yes",
        "yes >&2",
        "trap '' TERM; yes; yes",
        "yes & yes >&2",
    ] {
        let mut other = server.send("echo $$; cat\r\n1\r\n");
        let reply = server.run(command);
        assert!(
            matches!(reply.status & 0x7f, 9 | 13 | 15),
            "{command}: {reply:?}"
        );
        let kept = reply.stdout.len() + reply.stderr.len();
        assert!(
            (9_000_000..14_000_000).contains(&kept),
            "{command}: {kept} bytes"
        );
        let note = reply.err().lines().last().unwrap_or_default().to_owned();
        assert!(
            note.starts_with("sockproc: ") && note.contains("--max-spill allows"),
            "{command}: {note}"
        );
        assert!(other.is_silent_for(A_WHILE));
        other.send("x");
        assert_eq!(other.read_last_reply().status, 0);
    }
}

#[test]
fn what_all_runs_spill_together_is_bounded() {
    let server = Transport::Unix
        .setup()
        .serve(["--max-spill", "40M", "--max-spill-total", "20M"])
        .start();
    let replies: Vec<_> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| server.run("head -c 15000000 /dev/zero; sleep 1")))
            .collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    let whole = replies
        .iter()
        .filter(|reply| **reply == Reply::new(0, vec![0; 15_000_000], ""))
        .count();
    assert!(whole <= 2, "{whole} of 15 MB each in 20 MiB");
    for reply in replies.iter().filter(|reply| reply.status != 0) {
        assert!(reply.err().contains("sockproc: "), "{reply:?}");
    }
    // What they held is given back.
    poll_until(|| {
        server.run("head -c 15000000 /dev/zero") == Reply::new(0, vec![0; 15_000_000], "")
    });
}

#[test]
fn a_run_that_wants_more_than_all_may_spill_is_told_so_at_once() {
    let server = Transport::Unix
        .setup()
        .serve(["--max-spill-total", "5M"])
        .start();
    let reply = server.run("yes");
    assert!(
        reply.err().contains("--max-spill-total allows"),
        "{}",
        reply.err()
    );
}

/// It has 10 s, in which the command that needs its room is held up.
#[test]
fn a_client_that_reads_nothing_gives_its_room_to_a_run_that_needs_it() {
    let server = Transport::Unix
        .setup()
        .serve(["--max-spill-total", "64M"])
        .start();
    let mut unread = server.send(request("head -c 63000000 /dev/zero", ""));
    poll_until(|| crate::support::descendants(server.pid()).is_empty());
    unread.read_exactly(1);
    let reply = server.run("head -c 8000000 /dev/zero");
    assert_eq!(reply.err(), "");
    assert_eq!((reply.status, reply.stdout.len()), (0, 8_000_000));
    assert!(unread.skip_to_end() < 63_000_000);
}

#[test]
fn clients_that_read_nothing_keep_their_room_while_no_run_needs_it() {
    let server = Transport::Unix
        .setup()
        .serve(["--max-spill-total", "64M"])
        .start();
    let mut slow = server.send(request("head -c 30000000 /dev/zero", ""));
    slow.read_exactly(b"status:0\r\n30000000\r\n".len());
    std::thread::sleep(Duration::from_secs(12));
    assert_eq!(
        server.run("head -c 8000000 /dev/zero").stdout.len(),
        8_000_000
    );
    assert_eq!(slow.skip_to_end(), 30_000_000 + b"0\r\n".len() as u64);
}

/// What is left belongs to another run, which keeps the file.
#[test]
fn the_spill_file_gives_its_room_back_while_another_run_keeps_some() {
    let server = Transport::Unix.setup().serve(["--max-spill", "1G"]).start();
    let mut other = server.send(request("head -c 3000000 /dev/zero", ""));
    other.read_exactly(1);
    let mut large = server.send(request("head -c 300000000 /dev/zero", ""));
    large.read_exactly(1);
    assert!(spilled(&server) > 250 << 20);
    large.skip_to_end();
    poll_until(|| spilled(&server) < 32 << 20);
    other.skip_to_end();
    poll_until(|| spilled(&server) == 0);
}

#[test]
fn a_killed_run_gives_its_room_back_at_once() {
    let server = Transport::Unix
        .setup()
        .serve(["--classic-on-disconnect", "kill"])
        .start();
    let flood = server.send(request("exec yes", ""));
    poll_until(|| spilled(&server) > 32 << 20);
    flood.vanish();
    poll_until(|| spilled(&server) == 0);
}

/// Bytes that the server's files without a name take on the disk.
fn spilled(server: &TestServer) -> u64 {
    let fds = fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap();
    let unnamed = fds.flatten().filter(|fd| {
        let target = fs::read_link(fd.path()).unwrap_or_default();
        target.to_string_lossy().ends_with("(deleted)")
    });
    let files = unnamed.filter_map(|fd| fs::metadata(fd.path()).ok());
    files.map(|file| file.blocks() * 512).sum()
}
