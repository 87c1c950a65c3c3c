//! Commands that read nothing, and clients that read nothing.

use std::time::Duration;

use sockproc_core::proto::ClientEvent;

use super::runs;
use crate::native::client::{Client, argv, line};
use crate::support::{
    A_WHILE, Reply, TestServer, Transport, is_alive, memory_kib, on_both_transports,
};

on_both_transports!(
    commands_that_read_nothing_take_little_memory,
    clients_that_read_nothing_take_little_memory,
    both_at_once_take_little_memory,
    a_request_takes_no_memory_once_its_command_runs,
    unread_stdin_in_short_frames_takes_no_more,
);

/// What these may add to the server, in KiB: with a thousand of them it has less than 64 MiB.
fn most(count: usize) -> u64 {
    16 * 1024 + 40 * count as u64
}

/// With a thousand of each kind the server stays below 50 MiB. The first few make it read its code for them.
fn both_at_once_take_little_memory(on: Transport) {
    const FEW: usize = 10;
    let count = runs(200);
    let server = on.setup().shell("ulimit -n $(ulimit -Hn)").start();
    let growth_beside = |count| {
        let before = memory_kib(server.pid(), "VmRSS");
        let mut stalled = unread_stdins(&server, count, usize::MAX);
        stalled.extend(unread_outputs(&server, count));
        let growth = memory_kib(server.pid(), "VmRSS").saturating_sub(before);
        for run in stalled {
            run.goes_on();
        }
        growth
    };
    growth_beside(FEW);
    let growth = growth_beside(count);
    assert!(
        growth < 45 * count as u64,
        "{growth} KiB for {count} of each"
    );
}

/// However long the environment is that it brings along.
fn a_request_takes_no_memory_once_its_command_runs(on: Transport) {
    const COUNT: u64 = 40;
    let server = on.server();
    let mut request = argv(&["sleep", "1000"]);
    let value = |n| format!("LONG_{n}={}", "x".repeat(100_000)).into();
    request.environment.set = (0..8).map(value).collect();
    let ask = || {
        let mut client = Client::ask(&server, &request);
        client.wait_for_start();
        client
    };
    let first = ask();
    let before = memory_kib(server.pid(), "VmRSS");
    let others: Vec<_> = (0..COUNT).map(|_| ask()).collect();
    let growth = memory_kib(server.pid(), "VmRSS").saturating_sub(before);
    assert!(growth < COUNT * 100, "{growth} KiB for {COUNT}");
    drop((first, others));
}

fn commands_that_read_nothing_take_little_memory(on: Transport) {
    take_little_memory(on, runs(200), |server, count| {
        unread_stdins(server, count, usize::MAX)
    });
}

fn unread_stdin_in_short_frames_takes_no_more(on: Transport) {
    take_little_memory(on, 10, |server, count| unread_stdins(server, count, 1));
}

fn clients_that_read_nothing_take_little_memory(on: Transport) {
    take_little_memory(on, runs(200), unread_outputs);
}

#[track_caller]
fn take_little_memory(on: Transport, count: usize, stall: fn(&TestServer, usize) -> Vec<Stalled>) {
    let server = on.setup().shell("ulimit -n $(ulimit -Hn)").start();
    for _ in 0..20 {
        answers(&server);
    }
    let before = memory_kib(server.pid(), "VmRSS");
    let stalled = stall(&server, count);
    let growth = memory_kib(server.pid(), "VmRSS").saturating_sub(before);
    answers(&server);
    assert!(growth < most(count), "{growth} KiB for {count}");
    for run in stalled {
        run.goes_on();
    }
}

/// Live runs hold most of the descriptors, and connections that ask for nothing would like the rest.
#[test]
fn a_server_with_few_descriptors_ends_no_live_run() {
    let server = Transport::Unix.setup().shell("ulimit -n 256").start();
    let mut stalled = unread_stdins(&server, 15, usize::MAX);
    stalled.extend(unread_outputs(&server, 15));
    for _ in 0..3 {
        let idle: Vec<_> = (0..300).map(|_| server.connect()).collect();
        answers(&server);
        drop(idle);
    }
    for run in stalled {
        run.goes_on();
    }
}

#[track_caller]
fn answers(server: &TestServer) {
    assert_eq!(server.run("echo hi"), Reply::new(0, "hi\n", ""));
    assert_eq!(Client::run(server, &argv(&["true"])).code(), 0);
}

/// A run that stands still.
struct Stalled {
    client: Client,
    pid: u32,
    writes: bool,
}

/// Commands that read nothing, whose clients have sent all that they may, in frames of at most this length.
#[track_caller]
fn unread_stdins(server: &TestServer, count: usize, longest: usize) -> Vec<Stalled> {
    let one = |_| {
        let mut client = Client::ask(server, &line("exec sleep 1000"));
        let pid = client.wait_for_start();
        let writes = false;
        Stalled {
            client,
            pid,
            writes,
        }
    };
    let mut stalled: Vec<_> = (0..count).map(one).collect();
    // No run is left out when another has sent something.
    while stalled
        .iter_mut()
        .filter_map(|run| run.send_all(longest).then_some(()))
        .count()
        > 0
    {
        std::thread::sleep(A_WHILE);
    }
    stalled
}

/// Commands that write for ever to clients that read nothing.
#[track_caller]
fn unread_outputs(server: &TestServer, count: usize) -> Vec<Stalled> {
    let one = |_| {
        let mut client = Client::ask(server, &argv(&["yes", "0123456789abcde"]));
        let pid = client.wait_for_start();
        let writes = true;
        Stalled {
            client,
            pid,
            writes,
        }
    };
    let stalled = (0..count).map(one).collect();
    // They fill pipes and sockets.
    std::thread::sleep(A_WHILE);
    stalled
}

impl Stalled {
    /// Sends what it may; whether that was anything.
    fn send_all(&mut self, longest: usize) -> bool {
        let Client {
            connection,
            session,
        } = &mut self.client;
        while session.stdin_credit() == 0 && !connection.is_silent_for(Duration::ZERO) {
            session.receive_data(&connection.read_some());
            assert_eq!(session.next_event().unwrap(), None);
        }
        let credit = session.stdin_credit();
        let mut frames = Vec::new();
        while session.stdin_credit() > 0 {
            let len = session.stdin_credit().min(longest);
            let frame = session.send_stdin(vec![b'x'; len].into()).unwrap();
            frames.extend(frame.concat());
        }
        connection.send(frames);
        credit > 0
    }

    /// It was not ended, and does what it would have done.
    #[track_caller]
    fn goes_on(mut self) {
        assert!(is_alive(self.pid));
        if !self.writes {
            return self.client.cancel();
        }
        for _ in 0..3 {
            match self.client.next() {
                Some(ClientEvent::Data { data, .. }) => {
                    assert!(data.iter().all(|byte| b"0123456789abcde\n".contains(byte)));
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
