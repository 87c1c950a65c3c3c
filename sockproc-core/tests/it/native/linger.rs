//! When a run is over although others still hold its streams.

use std::time::Duration;

use sockproc_core::proto::{ExitStatus, Millis, Reach};

use super::client::{Client, Told, line, timed};
use crate::support::{Transport, on_both_transports, poll_until};

on_both_transports!(
    a_run_ends_with_its_leader_and_survivors_are_counted,
    what_a_survivor_writes_later_fails,
    a_survivor_that_goes_on_writing_is_read_for_so_long_only,
    everything_in_the_pipes_is_delivered_to_a_slow_reader,
);

fn a_run_ends_with_its_leader_and_survivors_are_counted(on: Transport) {
    let server = on.server();
    let (told, elapsed) = timed(|| Client::run(&server, &line("sleep 300 & echo $!; echo hi")));
    assert!(elapsed < Duration::from_secs(1), "{elapsed:?}");
    assert!(told.out().ends_with("\nhi\n"), "{told:?}");
    let exit = told.exit();
    assert_eq!(exit.status, ExitStatus::Code(0));
    assert_eq!((exit.survivors, exit.ended_by), (1, None));
    assert_eq!(exit.tree, Some(Reach::Links));
}

fn what_a_survivor_writes_later_fails(on: Transport) {
    let server = on.server();
    let script = "trap '' PIPE; (while [ ! -e go ]; do sleep 0.05; done; \
                  echo late || echo failed > told) & echo hi";
    assert_eq!(Client::run(&server, &line(script)).out(), "hi\n");
    std::fs::write(server.path("go"), "").unwrap();
    poll_until(|| server.read("told") == "failed\n");
}

fn a_survivor_that_goes_on_writing_is_read_for_so_long_only(on: Transport) {
    let server = on.server();
    let mut request = line("yes & exit 7");
    request.limits.linger = Millis::new(300);
    // On a busy machine the survivor may get no turn for 100 ms, and counts as silent then: once more.
    poll_until(|| {
        let (told, elapsed) = timed(|| Client::run(&server, &request));
        assert_eq!(told.code(), 7);
        // It would go on for ever. Time in which this client does not read does not count.
        assert!(elapsed < Duration::from_secs(20), "{elapsed:?}");
        elapsed >= Duration::from_millis(300) && told.exit().stdout.bytes > 100_000
    });
}

/// While it is not read the time does not count.
fn everything_in_the_pipes_is_delivered_to_a_slow_reader(on: Transport) {
    let server = on.server();
    let mut request = line("sleep 300 & head -c 6000000 /dev/zero; echo > done");
    request.limits.linger = Millis::new(100);
    let mut client = Client::ask(&server, &request);
    client.wait_for_start();
    let mut told = Told::default();
    for pause in [400, 300] {
        std::thread::sleep(Duration::from_millis(pause));
        for _ in 0..8 {
            told.take(client.next().unwrap());
        }
    }
    while let Some(event) = client.next() {
        told.take(event);
    }
    assert_eq!(told.stdout.len(), 6_000_000);
    assert_eq!(told.exit().stdout.bytes, 6_000_000);
    assert_eq!(told.exit().stdout.cut, 0);
}
