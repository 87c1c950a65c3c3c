//! Scarce descriptors, many connections, large answers: each costs what it must and hurts no other.

use std::time::Duration;

use crate::support::{Connection, Reply, Transport, on_both_transports, poll_until, request};

on_both_transports!(
    a_hundred_simultaneous_requests_are_answered_under_64_descriptors,
    a_hundred_large_requests_are_answered_under_64_descriptors,
    sixty_idle_connections_do_not_stop_a_61st_under_64_descriptors,
    the_longest_idle_connection_is_closed_first,
    idle_connections_do_not_push_out_running_commands,
    five_hundred_idle_connections_delay_no_other,
    a_slow_reader_delays_no_other,
    a_server_without_room_for_a_run_says_so_or_serves,
    the_servers_own_soft_limit_of_descriptors_is_raised,
    a_process_limit_is_an_answer_not_an_end,
);

fn a_hundred_simultaneous_requests_are_answered_under_64_descriptors(on: Transport) {
    let server = on.setup().shell("ulimit -n 64").start();
    for _ in 0..3 {
        let connections: Vec<_> = (0..100)
            .map(|number| server.send(request("sleep 0.02; cat", format!("{number}"))))
            .collect();
        for (number, mut connection) in connections.into_iter().enumerate() {
            assert_eq!(
                connection.read_last_reply(),
                Reply::new(0, format!("{number}"), "")
            );
        }
    }
}

fn a_hundred_large_requests_are_answered_under_64_descriptors(on: Transport) {
    let server = on.setup().shell("ulimit -n 64").start();
    let stdin: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let connections: Vec<_> = (0..100)
        .map(|_| {
            let connection = server.connect();
            connection.send_beside(request("tee /dev/stderr", &stdin));
            connection
        })
        .collect();
    for mut connection in connections {
        assert_eq!(connection.read_last_reply(), Reply::new(0, &stdin, &stdin));
    }
}

fn sixty_idle_connections_do_not_stop_a_61st_under_64_descriptors(on: Transport) {
    let server = on.setup().shell("ulimit -n 64").start();
    let _idle: Vec<_> = (0..60).map(|_| server.connect()).collect();
    assert_eq!(server.run("echo 61st").out(), "61st\n");
    // What has begun to ask and does not go on is idle too.
    let _halves: Vec<_> = (0..60).map(|_| server.send("echo half a comm")).collect();
    assert_eq!(server.run("echo 121st").out(), "121st\n");
}

fn the_longest_idle_connection_is_closed_first(on: Transport) {
    let server = on.setup().shell("ulimit -n 64").start();
    let mut old = server.connect();
    std::thread::sleep(Duration::from_millis(100));
    let mut newer: Vec<Connection> = Vec::new();
    while !old.has_ended() {
        assert!(newer.len() < 64, "64 descriptors hold all of them");
        newer.push(server.connect());
        std::thread::sleep(Duration::from_millis(20));
    }
    // Some of those that came later may have gone with it, but not the latest.
    let mut latest = newer.pop().unwrap();
    latest.send(request("echo latest", ""));
    assert_eq!(latest.read_last_reply(), Reply::new(0, "latest\n", ""));
}

fn idle_connections_do_not_push_out_running_commands(on: Transport) {
    let server = on.setup().shell("ulimit -n 64").start();
    let mut running: Vec<_> = (0..4)
        .map(|_| server.send("echo >> running; cat\r\n5\r\n"))
        .collect();
    poll_until(|| server.read("running").lines().count() == 4);
    let _idle: Vec<_> = (0..100).map(|_| server.connect()).collect();
    assert_eq!(server.run("echo between").out(), "between\n");
    for connection in &mut running {
        connection.send("stdin");
        assert_eq!(connection.read_last_reply(), Reply::new(0, "stdin", ""));
    }
}

fn five_hundred_idle_connections_delay_no_other(on: Transport) {
    let server = on.setup().shell("ulimit -n 1024").start();
    let mut idle: Vec<_> = (0..500).map(|_| server.connect()).collect();
    for _ in 0..20 {
        assert_eq!(server.run("echo hi").out(), "hi\n");
    }
    // There was room for all of them: none was closed. Not all are woken at once: if their runs needed
    // the room, those that still say nothing would be.
    for some in idle.chunks_mut(20) {
        for connection in &mut *some {
            connection.send(request("echo woken", ""));
        }
        for connection in some {
            assert_eq!(connection.read_last_reply(), Reply::new(0, "woken\n", ""));
        }
    }
}

fn a_slow_reader_delays_no_other(on: Transport) {
    let server = on.server();
    let mut slow: Vec<_> = (0..8)
        .map(|_| server.send(request("head -c 20000000 /dev/zero", "")))
        .collect();
    for connection in &mut slow {
        connection.read_exactly(100);
    }
    for _ in 0..20 {
        assert_eq!(server.run("echo hi").out(), "hi\n");
    }
    for mut connection in slow {
        assert_eq!(
            connection.skip_to_end(),
            20_000_000 - 100 + b"status:0\r\n20000000\r\n0\r\n".len() as u64
        );
    }
}

/// Sixteen descriptors: an answer or a message, not a hang and not a panic.
fn a_server_without_room_for_a_run_says_so_or_serves(on: Transport) {
    for limit in [4, 8, 10, 12, 16, 20, 24, 32] {
        let setup = on.setup().shell(&format!("ulimit -n {limit}"));
        let mut process = setup
            .command()
            .arg("--foreground")
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        poll_until(|| setup.address.is_served() || process.try_wait().unwrap().is_some());
        if setup.address.is_served() && process.try_wait().unwrap().is_none() {
            let mut connections: Vec<_> =
                (0..10).map(|_| setup.address.connect().unwrap()).collect();
            for connection in &mut connections {
                connection.send(request("echo hi", ""));
            }
            for connection in &mut connections {
                assert_eq!(
                    connection.read_last_reply(),
                    Reply::new(0, "hi\n", ""),
                    "ulimit -n {limit}"
                );
            }
            process.kill().unwrap();
        }
        let output = process.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let told = output.status.code().is_none() || said.starts_with("sockproc: ") || limit < 6;
        assert!(
            told && !said.contains("panicked"),
            "ulimit -n {limit}: {said}"
        );
    }
}

fn the_servers_own_soft_limit_of_descriptors_is_raised(on: Transport) {
    let server = on
        .setup()
        .shell("ulimit -H -n 1024 2>/dev/null; ulimit -S -n 64")
        .start();
    let mut connections: Vec<_> = (0..200).map(|_| server.connect()).collect();
    for connection in &mut connections {
        connection.send(request("ulimit -S -n", ""));
    }
    for connection in &mut connections {
        assert_eq!(connection.read_last_reply(), Reply::new(0, "64\n", ""));
    }
}

/// `fork` fails in the command, `clone` in the server: neither ends the server. Root has no such limit.
fn a_process_limit_is_an_answer_not_an_end(on: Transport) {
    let server = on.setup().shell("ulimit -u 200").start();
    let connections: Vec<_> = (0..100)
        .map(|_| server.send(request("sleep 0.1; echo hi", "")))
        .collect();
    for mut connection in connections {
        let reply = connection.read_last_reply();
        let refused = reply.err().starts_with("sockproc: ") || reply.err().contains("fork");
        assert!(reply == Reply::new(0, "hi\n", "") || refused, "{reply:?}");
    }
    poll_until(|| server.run("echo hi") == Reply::new(0, "hi\n", ""));
}
