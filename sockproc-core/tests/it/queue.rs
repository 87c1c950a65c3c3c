//! `--max-queue`: requests that no more can wait are told so at once.

use std::time::Duration;

use sockproc_core::proto::{ClientEvent, RefusalKind};

use crate::native::client::{Client, argv};
use crate::support::{Reply, TestServer, Transport, on_both_transports, poll_until, request};

on_both_transports!(
    what_does_not_fit_into_the_queue_is_busy_at_once,
    classic_clients_are_told_so_too,
);

const CLIENTS: usize = 40;
const QUEUE: usize = 5;

fn what_does_not_fit_into_the_queue_is_busy_at_once(on: Transport) {
    let server = server(on);
    // They are there before the descriptors are gone.
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| Client::open(&server)).collect();
    for client in &mut clients {
        let run = client.session.send_run(&argv(&["sleep", "1000"])).unwrap();
        client.connection.send(run);
    }
    let mut started = Vec::new();
    let mut refused = 0;
    poll_until(|| {
        for mut client in std::mem::take(&mut clients) {
            if client.connection.is_silent_for(Duration::from_millis(1)) {
                clients.push(client);
                continue;
            }
            match client.next() {
                Some(ClientEvent::Started { .. }) => started.push(client),
                Some(ClientEvent::Refused(refusal)) => {
                    assert_eq!(refusal.kind, RefusalKind::Busy, "{refusal:?}");
                    refused += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        // Some of these may have found room since.
        clients.len() <= QUEUE
    });
    assert!(
        !started.is_empty() && refused > 0,
        "{} {refused}",
        started.len()
    );
    // Who waits gets its turn.
    for mut client in started {
        client.cancel();
    }
    for client in &mut clients {
        client.wait_for_start();
        client.cancel();
    }
    drop(clients);
    assert_eq!(server.run("echo hi"), Reply::new(0, "hi\n", ""));
}

fn classic_clients_are_told_so_too(on: Transport) {
    let server = server(on);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send(request("sleep 1000", ""));
    }
    let is_told =
        |client: &mut crate::support::Connection| !client.is_silent_for(Duration::from_millis(1));
    let mut told = None;
    poll_until(|| {
        told = clients.iter_mut().position(is_told);
        told.is_some()
    });
    let reply = clients[told.unwrap()].read_last_reply();
    reply.assert_refused(75 << 8);
    assert!(reply.err().contains("--max-queue"), "{reply:?}");
}

fn server(on: Transport) -> TestServer {
    let queue = QUEUE.to_string();
    let setup = on.setup().shell("ulimit -n 128");
    setup.serve(["--max-queue", &queue]).start()
}
