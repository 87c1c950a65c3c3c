//! Clients that die, do not read, do not send, and what becomes of all others.

use sockproc_core::proto::native::ClientSession;
use sockproc_core::proto::opening::OPENING;
use sockproc_core::proto::{RefusalKind, SignalTo};

use super::client::{Client, argv, line};
use crate::support::{Transport, marked, on_both_transports, poll_until};

on_both_transports!(a_client_that_dies_at_any_byte_leaves_nothing_behind,);

fn a_client_that_dies_at_any_byte_leaves_nothing_behind(on: Transport) {
    let server = on.server();
    let before = server.settled_fd_count();
    let mut session = ClientSession::new();
    let mut request = line("exec sleep 1000");
    let marker = server.path("x").display().to_string();
    request.environment.set = vec![format!("SOCKPROC_TEST_MARK={marker}").into()];
    let run = session.send_run(&request).unwrap();
    let signal = session.send_signal(10, SignalTo::Group).unwrap();
    let [header, data] = session.send_stdin("abc".into()).unwrap();
    let whole = [OPENING, &run, &header, &data, &signal].concat();
    for len in 1..=whole.len() {
        let client = server.send(&whole[..len]);
        client.vanish();
    }
    poll_until(|| marked(&marker).is_empty());
    poll_until(|| server.fd_count() == before);
    assert_eq!(Client::run(&server, &argv(&["echo", "hi"])).out(), "hi\n");
}

#[test]
fn a_draining_server_refuses_and_lets_the_running_finish() {
    let mut server = Transport::Unix
        .setup()
        .serve(["--drain-timeout", "20"])
        .start();
    let mut waiting = Client::open(&server);
    let mut running = Client::ask(&server, &line("read x; echo $x"));
    running.wait_for_start();
    server.signal(rustix::process::Signal::TERM);
    waiting.session.send_run(&argv(&["true"])).unwrap();
    assert_eq!(waiting.finish().refusal().kind, RefusalKind::ShuttingDown);
    running.send_stdin("on\n");
    let told = running.finish();
    assert_eq!((told.out().as_str(), told.code()), ("on\n", 0));
    server.wait();
}

#[test]
fn what_runs_past_the_drain_timeout_is_ended_and_told_why() {
    let mut server = Transport::Unix
        .setup()
        .serve(["--drain-timeout", "0"])
        .start();
    let mut running = Client::ask(&server, &argv(&["sleep", "1000"]));
    running.wait_for_start();
    server.signal(rustix::process::Signal::TERM);
    let told = running.finish();
    assert_eq!(
        told.exit().ended_by,
        Some(sockproc_core::proto::EndedBy::Shutdown)
    );
    assert_eq!(told.exit().status.signal(), Some(15));
    server.wait();
}
