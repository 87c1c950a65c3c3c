//! Large answers wait on disk, within bounds.

use std::fs;

use crate::support::{
    A_WHILE, Reply, Transport, finish, memory_kib, on_both_transports, poll_until, request,
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
            note.starts_with("sockproc: ") && note.contains("max-spill"),
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
