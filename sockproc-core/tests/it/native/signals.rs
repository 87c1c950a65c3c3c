//! Signals and cancellation, before and after the start.

use std::time::{Duration, Instant};

use sockproc_core::proto::{ClientEvent, EndedBy, Millis, RefusalKind, SignalTo};

use super::client::{Client, Told, argv, crowd, line, timed};
use crate::support::{Transport, on_both_transports, poll_until};

on_both_transports!(
    a_signal_reaches_the_leader_or_all_of_its_group,
    a_signal_that_came_before_the_start_is_delivered_after_it,
    a_child_that_does_not_read_delays_no_signal,
    a_cancelled_run_ends_as_one_that_took_too_long,
    a_request_that_waits_is_cancelled_or_times_out_without_being_run,
);

fn a_signal_reaches_the_leader_or_all_of_its_group(on: Transport) {
    let server = on.server();
    let script = "trap 'echo leader' USR1; sh -c \"trap 'echo child; exit' USR1; echo up; \
                  while :; do sleep 0.05; done\" & while ! wait; do :; done";
    for (to, expected) in [
        (SignalTo::Group, vec!["child", "leader"]),
        (SignalTo::Leader, vec!["leader"]),
    ] {
        let mut client = Client::ask(&server, &line(script));
        client.wait_for_start();
        assert!(client.next().is_some());
        client.signal(10, to);
        let mut told = Told::default();
        while told.out().lines().count() < expected.len() {
            told.take(client.next().unwrap());
        }
        client.cancel();
        while let Some(event) = client.next() {
            told.take(event);
        }
        let mut lines: Vec<_> = told.out().lines().map(str::to_owned).collect();
        lines.sort();
        assert_eq!(lines, expected, "{told:?}");
    }
}

fn a_signal_that_came_before_the_start_is_delivered_after_it(on: Transport) {
    let server = on.server();
    let mut client = Client::open(&server);
    let run = client.session.send_run(&argv(&["sleep", "1000"])).unwrap();
    let signal = client.session.send_signal(15, SignalTo::Leader).unwrap();
    client.connection.send([&run[..], &signal].concat());
    let told = client.finish();
    assert!(told.pid > 1);
    assert_eq!(
        (told.exit().status.signal(), told.exit().ended_by),
        (Some(15), None)
    );
}

fn a_child_that_does_not_read_delays_no_signal(on: Transport) {
    let server = on.server();
    let mut request = argv(&["sleep", "1000"]);
    request.stdin = sockproc_core::proto::StreamMode::Piped;
    let mut client = Client::ask(&server, &request);
    client.wait_for_start();
    let mut sent = 0;
    // Its pipe is full, and some is in the server.
    while sent < 96 * 1024 {
        if client.session.stdin_credit() == 0 {
            assert!(client.next_or_credit().is_none());
        }
        let len = client.session.stdin_credit();
        client.send_stdin(vec![b'x'; len]);
        sent += len;
    }
    client.signal(15, SignalTo::Leader);
    let (told, elapsed) = timed(|| client.finish());
    assert_eq!(told.exit().status.signal(), Some(15));
    assert!(elapsed < Duration::from_secs(2), "{elapsed:?}");
}

fn a_cancelled_run_ends_as_one_that_took_too_long(on: Transport) {
    let server = on.server();
    let mut client = Client::ask(&server, &line("echo a; sleep 1000 | cat"));
    client.wait_for_start();
    assert!(client.next().is_some());
    client.cancel();
    client.cancel();
    let told = client.finish();
    assert_eq!(told.exit().ended_by, Some(EndedBy::Cancel));
    assert_eq!(told.exit().survivors, 0);
}

fn a_request_that_waits_is_cancelled_or_times_out_without_being_run(on: Transport) {
    let server = on.setup().shell("ulimit -n 64").start();
    let mut request = line("echo >> started; exec sleep 1000");
    request.limits.queue_timeout = Millis::new(5000);
    let begin = Instant::now();
    let (running, mut waiting) = crowd(&server, &request);
    let mut cancelled = waiting.pop().unwrap();
    cancelled.cancel();
    assert_eq!(cancelled.finish().refusal().kind, RefusalKind::Cancelled);
    // Those that are refused leave room to others.
    let (mut refused, mut started) = (0, running.len());
    for client in &mut waiting {
        match client.next() {
            Some(ClientEvent::Refused(refusal)) => {
                let elapsed = begin.elapsed();
                assert_eq!(refusal.kind, RefusalKind::QueueTimeout);
                assert!(elapsed >= Duration::from_millis(5000), "{elapsed:?}");
                assert!(elapsed < Duration::from_millis(8000), "{elapsed:?}");
                refused += 1;
            }
            Some(ClientEvent::Started { .. }) => started += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(refused > 1);
    poll_until(|| server.read("started").lines().count() == started);
    drop((running, waiting));
    assert_eq!(Client::run(&server, &argv(&["echo", "hi"])).out(), "hi\n");
}
