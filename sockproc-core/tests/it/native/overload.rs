//! Clients that do not read and commands that do not read: what they cost, and that they hold up no other.

use std::time::Duration;

use super::client::{Client, argv, line, timed};
use crate::support::{Transport, memory_kib, on_both_transports, settled};

on_both_transports!(
    readers_that_stop_hold_up_no_other_and_cost_little,
    commands_that_read_nothing_hold_up_no_other_and_cost_little,
);

/// What the larger buffers of all runs take together, in KiB.
const BUFFERS: u64 = 10 * 1024;

const CLIENTS: u64 = 150;

fn readers_that_stop_hold_up_no_other_and_cost_little(on: Transport) {
    let server = on.server();
    Client::run(&server, &argv(&["true"]));
    let before = memory_kib(server.pid(), "VmRSS");
    let ask = |_| Client::ask(&server, &line("head -c 9000000 /dev/zero"));
    let mut stopped: Vec<_> = (0..CLIENTS).map(ask).collect();
    for client in &mut stopped {
        client.wait_for_start();
    }
    let after = settled(10, || memory_kib(server.pid(), "VmRSS") / 512) * 512;
    let each = after.saturating_sub(before + BUFFERS) / CLIENTS;
    assert!(each < 40, "{before} {after} {each}");
    another_is_served(&server);
    for mut client in stopped {
        assert_eq!(client.finish().stdout.len(), 9_000_000);
    }
}

fn commands_that_read_nothing_hold_up_no_other_and_cost_little(on: Transport) {
    let server = on.server();
    Client::run(&server, &argv(&["true"]));
    let before = memory_kib(server.pid(), "VmRSS");
    let ask = |_| Client::ask(&server, &line("exec sleep 1000"));
    let mut stalled: Vec<_> = (0..CLIENTS).map(ask).collect();
    for client in &mut stalled {
        client.wait_for_start();
    }
    for client in &mut stalled {
        let mut sent = 0;
        // A pipe takes 64 KiB, the server what it has granted beyond.
        let pause = Duration::from_millis(30);
        while sent < 64 * 1024 || !client.connection.is_silent_for(pause) {
            if client.session.stdin_credit() == 0 {
                client.next_or_credit();
            }
            let len = client.session.stdin_credit();
            client.send_stdin(vec![b'x'; len]);
            sent += len;
        }
        assert!((64 * 1024..=160 * 1024).contains(&sent), "{sent}");
    }
    let after = settled(10, || memory_kib(server.pid(), "VmRSS") / 512) * 512;
    let each = after.saturating_sub(before + BUFFERS) / CLIENTS;
    assert!(each < 60, "{before} {after} {each}");
    another_is_served(&server);
}

#[track_caller]
fn another_is_served(server: &crate::support::TestServer) {
    let (told, elapsed) = timed(|| Client::run(server, &argv(&["echo", "hi"])));
    assert_eq!(told.out(), "hi\n");
    assert!(elapsed < Duration::from_secs(1), "{elapsed:?}");
}
