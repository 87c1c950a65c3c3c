//! A server that is told to end: who still gets an answer, who does not, and that it ends.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{
    DEADLINE, Reply, TestServer, Transport, on_both_transports, poll_until, request, settled,
};

on_both_transports!(
    a_client_that_still_sends_stdin_gets_its_answer,
    unread_stdin_is_taken_while_the_server_drains,
    nothing_that_is_queued_starts_once_commands_are_being_killed,
    a_client_that_reads_nothing_does_not_keep_the_server_from_its_end,
    a_client_that_reads_nothing_does_not_keep_a_classic_server_from_its_end,
    a_client_that_drips_behind_its_reply_does_not_keep_a_classic_server_from_its_end,
    a_second_signal_ends_what_waits_for_slow_readers_and_no_command,
);

const MIB: usize = 1 << 20;

fn a_client_that_still_sends_stdin_gets_its_answer(on: Transport) {
    let mut server = on.server();
    let mut client = server.send(format!("echo > started; wc -c; exit 3\r\n{}\r\n", 20 * MIB));
    client.send(vec![b'x'; 10 * MIB]);
    server.wait_for("started");
    told_to_end(&server);
    client.send(vec![b'x'; 10 * MIB]);
    let reply = client.read_last_reply();
    assert_eq!(
        (reply.status, reply.out().trim()),
        (3 << 8, "20971520"),
        "{reply:?}"
    );
    drop(client);
    assert_eq!(server.wait().signal(), Some(Signal::TERM.as_raw()));
}

fn unread_stdin_is_taken_while_the_server_drains(on: Transport) {
    poll_until(|| sends_while_the_server_drains(on));
}

/// The command and its answer are over; a close with unread bytes would take the answer back. Returns
/// false if the machine was so busy that the server's 2 s for more stdin may have been over.
fn sends_while_the_server_drains(on: Transport) -> bool {
    let mut server = on.server();
    let mut client = server.send(format!("echo out; echo > done; exit 3\r\n{}\r\n", 20 * MIB));
    client.send(vec![b'x'; 10 * MIB]);
    let sent = Instant::now();
    server.wait_for("done");
    poll_until(|| !client.is_silent_for(Duration::ZERO));
    told_to_end(&server);
    if sent.elapsed() > Duration::from_secs(1) {
        return false;
    }
    client.send(vec![b'x'; 10 * MIB]);
    assert_eq!(client.read_last_reply(), Reply::new(3 << 8, "out\n", ""));
    drop(client);
    assert_eq!(server.wait().signal(), Some(Signal::TERM.as_raw()));
    true
}

fn nothing_that_is_queued_starts_once_commands_are_being_killed(on: Transport) {
    // A run takes three descriptors while it waits: zero to two of them are left over.
    for (timeout, limit) in [("0", 64), ("1", 63), ("0", 62), ("0", 61), ("0", 60)] {
        let mut server = on
            .setup()
            .shell(&format!("ulimit -n {limit}"))
            .serve(["--drain-timeout", timeout])
            .start();
        // All are accepted before any command takes its descriptors: the rest of them is queued.
        let before = server.settled_fd_count();
        let mut clients: Vec<_> = (0..20).map(|_| server.connect()).collect();
        poll_until(|| server.fd_count() == before + 20);
        let command = request("echo >> started; exec sleep 1000", "");
        for client in &mut clients {
            // On a busy machine it may have been so late that it was closed.
            let _ = client.try_send(&command);
        }
        server.wait_for("started");
        let started = settled(100, || server.read("started").lines().count());
        clients.retain(|client| client.is_silent_for(Duration::ZERO));
        assert!((1..clients.len()).contains(&started), "{started}");
        server.signal(Signal::TERM);
        let replies: Vec<_> = clients
            .iter_mut()
            .map(|client| client.read_last_reply())
            .collect();
        let (killed, refused): (Vec<_>, Vec<_>) =
            replies.into_iter().partition(|reply| reply.status == 15);
        assert_eq!(killed, vec![Reply::new(15, "", ""); started]);
        for reply in refused {
            reply.assert_refused(75 << 8);
        }
        assert_eq!(server.wait().code(), Some(0));
        assert_eq!(server.read("started").lines().count(), started);
    }
}

/// It has the time that commands have between SIGTERM and SIGKILL, and a little more.
fn a_client_that_reads_nothing_does_not_keep_the_server_from_its_end(on: Transport) {
    let mut server = on.setup().serve(["--drain-timeout", "0"]).start();
    let _unread = server.send(request("head -c 20000000 /dev/zero; echo > done", ""));
    server.wait_for("done");
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
}

fn a_client_that_reads_nothing_does_not_keep_a_classic_server_from_its_end(on: Transport) {
    let mut server = on.server();
    let _unread = server.send(request("head -c 20000000 /dev/zero; echo > done", ""));
    server.wait_for("done");
    server.signal(Signal::TERM);
    assert_eq!(server.wait().signal(), Some(Signal::TERM.as_raw()));
}

fn a_client_that_drips_behind_its_reply_does_not_keep_a_classic_server_from_its_end(on: Transport) {
    let mut server = on.server();
    let mut dripping = server.send("true\r\n1000000\r\n");
    poll_until(|| !dripping.is_silent_for(Duration::ZERO));
    server.signal(Signal::TERM);
    let mut ended = None;
    poll_until(|| {
        let _ = dripping.try_send("x");
        ended = server.process.try_wait().unwrap();
        ended.is_some()
    });
    assert_eq!(ended.unwrap().signal(), Some(Signal::TERM.as_raw()));
}

fn a_second_signal_ends_what_waits_for_slow_readers_and_no_command(on: Transport) {
    let mut server = on.server();
    let mut running = server.send("echo > started; cat\r\n2\r\n");
    let mut slow = server.send(request("head -c 20000000 /dev/zero; echo > done", ""));
    server.wait_for("started");
    server.wait_for("done");
    told_to_end(&server);
    // It reads all the time, so the first signal leaves it alone.
    for _ in 0..20 {
        slow.read_exactly(1000);
        thread::sleep(Duration::from_millis(5));
    }
    let before = server.fd_count();
    server.signal(Signal::TERM);
    poll_until(|| server.fd_count() < before);
    // No more comes than the kernel had taken.
    assert!(slow.skip_to_any_end() < 19_000_000);
    running.send("hi");
    assert_eq!(running.read_last_reply(), Reply::new(0, "hi", ""));
    drop(running);
    assert_eq!(server.wait().signal(), Some(Signal::TERM.as_raw()));
}

#[test]
fn a_signal_at_the_first_moment_of_the_socket_removes_it() {
    for number in 0..40 {
        let mut setup = Transport::Unix.setup();
        let is_classic = number % 2 == 0;
        setup = if is_classic {
            setup.args(["--foreground"])
        } else {
            setup.serve::<&str>([])
        };
        let mut process = setup.command().spawn().unwrap();
        let socket = setup.dir.path().join("s.sock");
        let deadline = Instant::now() + DEADLINE;
        // A pause between two looks would miss the moment.
        while !socket.exists() && Instant::now() < deadline {
            thread::yield_now();
        }
        kill_process(Pid::from_child(&process), Signal::TERM).unwrap();
        let mut status = None;
        poll_until(|| {
            status = process.try_wait().unwrap();
            status.is_some()
        });
        let status = status.unwrap();
        let as_told = (None, Some(Signal::TERM.as_raw()));
        let expected = if is_classic { as_told } else { (Some(0), None) };
        let ended = (status.code(), status.signal(), socket.exists());
        assert_eq!(ended, (expected.0, expected.1, false));
    }
}

#[test]
fn a_second_signal_ends_commands_at_once_while_the_name_of_the_socket_is_locked() {
    let mut server = Transport::Unix.setup().serve::<&str>([]).start();
    let mut client = server.send("echo > started; sleep 1000\r\n0\r\n");
    server.wait_for("started");
    let lock = server.path("s.sock.lock");
    let mut options = File::options();
    let lock = options.create(true).write(true).mode(0o600).open(lock);
    let lock = lock.unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    let begin = Instant::now();
    // Two that come at once may be heard as one.
    poll_until(|| {
        server.signal(Signal::TERM);
        !client.is_silent_for(Duration::from_millis(50))
    });
    let status = client.read_last_reply().status;
    assert_eq!(status & 0x7f, Signal::TERM.as_raw());
    // Less than it waits for the lock.
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(4), "{took:?}");
    drop(lock);
    server.wait();
}

/// The server has got the signal and accepts no more connections.
#[track_caller]
fn told_to_end(server: &TestServer) {
    server.signal(Signal::TERM);
    poll_until(|| server.address.connect().is_err());
}
