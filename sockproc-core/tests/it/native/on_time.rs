//! Timeouts fire within 50 ms of their time, and never early.

use std::time::{Duration, Instant};

use sockproc_core::proto::{ClientEvent, EndedBy, Millis, RefusalKind, Request};

use super::client::{Client, Told, argv};
use crate::support::{TestServer, Transport, on_both_transports};

on_both_transports!(
    a_timeout_is_on_time,
    an_idle_timeout_is_on_time,
    a_queue_timeout_is_on_time,
);

const TELLS_OF_SIGTERM: [&str; 3] = [
    "sh",
    "-c",
    "trap 'echo; exit' TERM; while :; do sleep 1000 & wait; done",
];

const LIMIT: Duration = Duration::from_millis(250);

/// What a limit may be late.
const LATE: Duration = Duration::from_millis(50);

/// On a busy machine a try may be late by what else runs; all of them are late only by our fault.
const TRIES: usize = 40;

fn a_timeout_is_on_time(on: Transport) {
    let server = on.server();
    let mut request = argv(&TELLS_OF_SIGTERM);
    request.limits.timeout = millis();
    on_time(|| fires(&server, &request, EndedBy::Timeout));
}

fn an_idle_timeout_is_on_time(on: Transport) {
    let server = on.server();
    let mut request = argv(&TELLS_OF_SIGTERM);
    request.limits.idle_timeout = millis();
    on_time(|| fires(&server, &request, EndedBy::IdleTimeout));
}

fn a_queue_timeout_is_on_time(on: Transport) {
    let mut request = argv(&["sleep", "1000"]);
    request.limits.queue_timeout = millis();
    on_time(|| {
        let server = on.setup().shell("ulimit -n 64").start();
        // They are there before the descriptors are gone.
        let clients: Vec<_> = (0..20).map(|_| Client::open(&server)).collect();
        let ask = |mut client: Client| {
            let run = client.session.send_run(&request).unwrap();
            let asked = Instant::now();
            client.connection.send(run);
            (client, asked)
        };
        let clients: Vec<_> = clients.into_iter().map(ask).collect();
        let refused = clients.into_iter().filter_map(|(mut client, asked)| {
            let told = client.next();
            let elapsed = asked.elapsed();
            match told {
                Some(ClientEvent::Refused(refusal)) => {
                    assert_eq!(refusal.kind, RefusalKind::QueueTimeout);
                    Some(elapsed)
                }
                _ => None,
            }
        });
        // In some tries there is nothing to measure.
        refused.min().unwrap_or(Duration::MAX)
    });
}

/// The first of some tries that is not late; none may be early.
#[track_caller]
fn on_time(mut try_once: impl FnMut() -> Duration) {
    let mut least = Duration::MAX;
    for _ in 0..TRIES {
        let took = try_once();
        assert!(took >= LIMIT, "early: {took:?}");
        least = least.min(took);
        if least <= LIMIT + LATE {
            return;
        }
    }
    panic!("late: {least:?}");
}

/// When the command of a run that the server ends tells of its SIGTERM, from the request on.
#[track_caller]
fn fires(server: &TestServer, request: &Request, why: EndedBy) -> Duration {
    let mut client = Client::open(server);
    let run = client.session.send_run(request).unwrap();
    let asked = Instant::now();
    client.connection.send(run);
    // One that is not so far as to tell leaves nothing to measure.
    let (mut told, mut took) = (Told::default(), Duration::MAX);
    while let Some(event) = client.next() {
        if let ClientEvent::Data { .. } = event {
            took = asked.elapsed();
        }
        told.take(event);
    }
    assert_eq!(told.exit().ended_by, Some(why));
    took
}

fn millis() -> Option<Millis> {
    Millis::new(u64::try_from(LIMIT.as_millis()).unwrap())
}
