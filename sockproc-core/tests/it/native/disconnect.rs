//! A client that goes before its run is over.

use std::collections::HashSet;

use rustix::process::Signal;
use sockproc_core::proto::OnDisconnect;

use super::client::{Client, argv, crowd, line};
use crate::support::{
    A_WHILE, Transport, is_alive, on_both_transports, poll_until, send_signal, settled,
};

on_both_transports!(
    a_run_ends_with_its_client,
    a_half_close_is_a_way_to_go,
    a_run_that_is_to_finish_goes_on_without_its_client,
    half_of_an_input_is_not_taken_for_the_whole,
    a_request_that_waits_is_forgotten_with_its_client,
    a_request_that_waits_and_is_to_finish_is_started_without_its_client,
);

fn a_run_ends_with_its_client(on: Transport) {
    let server = on.server();
    let mut client = Client::ask(&server, &line("sleep 1000 | cat"));
    let pid = client.wait_for_start();
    client.connection.vanish();
    poll_until(|| !is_alive(pid));
}

fn a_half_close_is_a_way_to_go(on: Transport) {
    let server = on.server();
    let mut client = Client::ask(&server, &argv(&["sleep", "1000"]));
    let pid = client.wait_for_start();
    client.connection.half_close();
    poll_until(|| !is_alive(pid));
}

fn a_run_that_is_to_finish_goes_on_without_its_client(on: Transport) {
    let server = on.server();
    let mut request = line("read x; head -c 5000000 /dev/zero; cat > rest; echo done > told");
    request.on_disconnect = Some(OnDisconnect::Finish);
    let mut client = Client::ask(&server, &request);
    client.wait_for_start();
    client.send_stdin("one\ntwo\n");
    client.connection.vanish();
    assert_eq!(server.wait_for("told"), "done\n");
    poll_until(|| server.read("rest") == "two\n" || server.read("rest").is_empty());
}

fn half_of_an_input_is_not_taken_for_the_whole(on: Transport) {
    let server = on.server();
    let mut client = Client::ask(&server, &line("cat > copy && echo whole > told"));
    client.wait_for_start();
    client.send_stdin("half");
    poll_until(|| server.read("copy") == "half");
    client.connection.vanish();
    std::thread::sleep(A_WHILE);
    assert!(!server.path("told").exists());
}

fn a_request_that_waits_is_forgotten_with_its_client(on: Transport) {
    let server = on.setup().shell("ulimit -n 64").start();
    let request = line("echo >> started; exec sleep 1000");
    let (running, waiting) = crowd(&server, &request);
    waiting
        .into_iter()
        .for_each(|client| client.connection.vanish());
    poll_until(|| server.connections() == running.len());
    // A late one may have been started while its client was still there.
    let started = server.read("started").lines().count();
    drop(running);
    assert_eq!(Client::run(&server, &line("echo hi")).out(), "hi\n");
    assert_eq!(
        settled(20, || server.read("started").lines().count()),
        started
    );
}

fn a_request_that_waits_and_is_to_finish_is_started_without_its_client(on: Transport) {
    let server = on.setup().shell("ulimit -n 64").start();
    let mut request = line("echo $$ >> started; exec sleep 1000");
    request.on_disconnect = Some(OnDisconnect::Finish);
    let (running, waiting) = crowd(&server, &request);
    let all = running.len() + waiting.len();
    for mut client in running {
        client.wait_for_start();
    }
    // Their connections' descriptors may already be room for another run.
    drop(waiting);
    let mut ended = HashSet::new();
    poll_until(|| {
        for pid in server.read("started").lines() {
            let pid: u32 = pid.parse().unwrap();
            if ended.insert(pid) {
                send_signal(pid, Signal::TERM);
            }
        }
        ended.len() == all
    });
}
