//! What ends a run before its time, and what its client is told.

use std::time::Duration;

use sockproc_core::proto::{EndedBy, ExitStatus, Millis, PastMax, RefusalKind, StreamMode};

use super::client::{Client, argv, line, timed};
use crate::support::{Transport, on_both_transports};

on_both_transports!(
    a_run_that_takes_too_long_is_ended_with_its_whole_pipeline,
    a_command_that_ignores_sigterm_is_killed_after_its_grace,
    a_silent_run_is_ended_and_a_talkative_one_is_not,
    silence_does_not_count_while_the_client_does_not_read,
    output_past_its_maximum_ends_the_run,
    output_past_its_maximum_is_thrown_away_and_counted,
    limits_that_need_the_bytes_are_refused_without_them,
);

const MARGIN: Duration = Duration::from_millis(1500);

fn a_run_that_takes_too_long_is_ended_with_its_whole_pipeline(on: Transport) {
    let server = on.server();
    let mut request = line("echo kept; sleep 1000 | cat | cat");
    request.limits.timeout = Millis::new(300);
    let (told, elapsed) = timed(|| Client::run(&server, &request));
    assert!(elapsed >= Duration::from_millis(300) && elapsed < Duration::from_millis(300) + MARGIN);
    assert_eq!(told.out(), "kept\n");
    let exit = told.exit();
    assert_eq!((exit.ended_by, exit.survivors), (Some(EndedBy::Timeout), 0));
    assert_eq!(exit.status.signal(), Some(15));
}

fn a_command_that_ignores_sigterm_is_killed_after_its_grace(on: Transport) {
    let server = on.server();
    let mut request = line("trap '' TERM; while :; do sleep 0.1; done");
    request.limits.timeout = Millis::new(200);
    request.limits.grace = Millis::new(300);
    let (told, elapsed) = timed(|| Client::run(&server, &request));
    assert!(elapsed >= Duration::from_millis(500) && elapsed < Duration::from_millis(500) + MARGIN);
    assert_eq!(told.exit().status.signal(), Some(9));
    assert_eq!(told.exit().ended_by, Some(EndedBy::Timeout));
}

fn a_silent_run_is_ended_and_a_talkative_one_is_not(on: Transport) {
    let server = on.server();
    let mut request = line("echo a; sleep 1000");
    request.limits.idle_timeout = Millis::new(300);
    let (told, elapsed) = timed(|| Client::run(&server, &request));
    assert!(elapsed >= Duration::from_millis(300) && elapsed < Duration::from_millis(300) + MARGIN);
    assert_eq!(told.exit().ended_by, Some(EndedBy::IdleTimeout));
    let mut request = line("for i in 1 2 3 4 5 6 7 8; do sleep 0.15; echo $i; done");
    request.limits.idle_timeout = Millis::new(1000);
    assert_eq!(Client::run(&server, &request).exit().ended_by, None);
}

fn silence_does_not_count_while_the_client_does_not_read(on: Transport) {
    let server = on.server();
    let mut request = line("head -c 20000000 /dev/zero");
    request.limits.idle_timeout = Millis::new(300);
    let mut client = Client::ask(&server, &request);
    client.wait_for_start();
    std::thread::sleep(Duration::from_millis(1000));
    let told = client.finish();
    assert_eq!((told.stdout.len(), told.code()), (20_000_000, 0));
}

fn output_past_its_maximum_ends_the_run(on: Transport) {
    let server = on.server();
    let mut request = line("yes");
    request.limits.max_output = Some(100_001);
    let told = Client::run(&server, &request);
    assert_eq!(told.stdout.len(), 100_001);
    let exit = told.exit();
    assert_eq!(exit.ended_by, Some(EndedBy::OutputLimit));
    assert_eq!(exit.stdout.bytes - exit.stdout.cut, 100_001);
    assert!(exit.stdout.cut > 0);
}

fn output_past_its_maximum_is_thrown_away_and_counted(on: Transport) {
    let server = on.server();
    let mut request = line("head -c 70000 /dev/zero; head -c 70000 /dev/zero >&2; exit 5");
    request.limits.max_output = Some(100_000);
    request.limits.past_max = PastMax::Discard;
    let told = Client::run(&server, &request);
    assert_eq!(told.stdout.len() + told.stderr.len(), 100_000);
    let exit = told.exit();
    assert_eq!((exit.status, exit.ended_by), (ExitStatus::Code(5), None));
    assert_eq!(exit.stdout.bytes + exit.stderr.bytes, 140_000);
    assert_eq!(exit.stdout.cut + exit.stderr.cut, 40_000);
}

fn limits_that_need_the_bytes_are_refused_without_them(on: Transport) {
    let server = on.server();
    for records in ["idle_timeout=5", "max_output=5", "linger=5"] {
        let payload = format!("arg=ls\0stdout=fd\0{records}\0");
        let mut client = Client::open(&server);
        client.connection.send([1, 0, 0, 0, payload.len() as u8]);
        client.connection.send(&payload);
        // The session has to have asked for what it hears of.
        client.session.send_run(&argv(&["ls"])).unwrap();
        let told = client.finish();
        let refusal = told.refusal();
        assert_eq!(refusal.kind, RefusalKind::BadRequest);
        let field = records.split('=').next().unwrap();
        assert!(refusal.message.starts_with(field), "{refusal:?}");
    }
    let mut request = argv(&["true"]);
    request.stdout = StreamMode::Null;
    assert_eq!(Client::run(&server, &request).code(), 0);
}
