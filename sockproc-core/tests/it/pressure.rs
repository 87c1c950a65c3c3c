//! If descriptors are short, drippers and clients that do not read are closed; without need no one is.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use crate::support::{
    Connection, Reply, TestServer, Transport, on_both_transports, poll_until, request, settled,
};

on_both_transports!(
    sixty_drippers_do_not_stop_a_61st_under_64_descriptors,
    sixty_clients_that_read_nothing_do_not_stop_a_61st_under_64_descriptors,
    idle_connections_stay_until_others_need_their_place,
    twenty_clients_that_hold_back_their_stdin_do_not_stop_a_21st,
    a_client_that_reads_steadily_is_not_cut_however_slow_it_is,
);

fn sixty_drippers_do_not_stop_a_61st_under_64_descriptors(on: Transport) {
    let server = on.setup().shell("ulimit -n 64").start();
    let mut drippers: Vec<_> = (0..60).map(|_| server.send("echo ")).collect();
    let (stop, stopped) = channel::<()>();
    let drip = thread::spawn(move || {
        let pause = Duration::from_millis(200);
        while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
            for connection in &mut drippers {
                // The server may have closed it.
                let _ = connection.try_send("x");
            }
        }
    });
    for _ in 0..5 {
        assert_eq!(server.run("echo 61st"), Reply::new(0, "61st\n", ""));
    }
    drop(stop);
    drip.join().unwrap();
}

/// They have 10 s, in which the 61st waits.
fn sixty_clients_that_read_nothing_do_not_stop_a_61st_under_64_descriptors(on: Transport) {
    let server = on.setup().shell("ulimit -n 64").start();
    let large = request("head -c 8000000 /dev/zero", "");
    let _unread: Vec<_> = (0..60).map(|_| server.send(&large)).collect();
    assert_eq!(server.run("echo 61st"), Reply::new(0, "61st\n", ""));
}

/// They have 10 s, and are told why their commands were killed.
fn twenty_clients_that_hold_back_their_stdin_do_not_stop_a_21st(on: Transport) {
    let server = on.setup().shell("ulimit -n 64").start();
    let mut clients: Vec<_> = (0..20)
        .map(|_| server.send("cat > t$$ && echo > done$$\r\n10\r\nx"))
        .collect();
    settled(50, || server.fd_count());
    assert_eq!(server.run("echo 21st"), Reply::new(0, "21st\n", ""));
    let gave_way = clients
        .iter_mut()
        .find(|client| !client.is_silent_for(Duration::ZERO));
    let reply = gave_way.unwrap().read_last_reply();
    assert_eq!(reply.status, 9, "{reply:?}");
    assert!(reply.err().starts_with("sockproc: killed: "), "{reply:?}");
    let files = std::fs::read_dir(server.dir.path()).unwrap().flatten();
    let mut names = files.map(|file| file.file_name().into_string().unwrap());
    assert!(!names.any(|name| name.starts_with("done")));
}

/// It takes more than 10 s for a piece of its reply, and has waited longer than all others.
fn a_client_that_reads_steadily_is_not_cut_however_slow_it_is(on: Transport) {
    let server = on.setup().shell("ulimit -n 64").start();
    let large = request("head -c 8000000 /dev/zero", "");
    let mut steady = server.send(&large);
    let (stop, stopped) = channel::<()>();
    let reader = thread::spawn(move || {
        let (pause, mut count) = (Duration::from_millis(100), 0);
        while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
            count += steady.read_exactly(6000).len() as u64;
        }
        count + steady.skip_to_end()
    });
    let _unread: Vec<_> = (0..60).map(|_| server.send(&large)).collect();
    for _ in 0..3 {
        assert_eq!(server.run("echo hi"), Reply::new(0, "hi\n", ""));
    }
    drop(stop);
    let head = "status:0\r\n8000000\r\n0\r\n";
    assert_eq!(reader.join().unwrap(), 8_000_000 + head.len() as u64);
}

fn idle_connections_stay_until_others_need_their_place(on: Transport) {
    let server = on.setup().shell("ulimit -n 64").start();
    let (room, mut idle) = fill(&server);
    // Four times as long as one must have been idle before it can be closed.
    thread::sleep(Duration::from_secs(2));
    assert_eq!(ended(&mut idle), 0);
    assert_eq!(server.connections(), room);
    // Another one comes, and no more have to end than it takes.
    assert_eq!(server.run("echo hi"), Reply::new(0, "hi\n", ""));
    assert!(ended(&mut idle) <= 5);
}

/// Connects as many idle clients as the server holds at once; returns how many that are.
fn fill(server: &TestServer) -> (usize, Vec<Connection>) {
    let mut idle: Vec<_> = (0..60).map(|_| server.connect()).collect();
    let (mut room, mut gone) = (0, 0);
    poll_until(|| {
        gone += ended(&mut idle);
        let open = server.connections();
        room = room.max(open);
        gone + open == 60
    });
    assert!(gone > 0);
    // More may have ended than had to.
    poll_until(|| {
        ended(&mut idle);
        if idle.len() < room {
            idle.push(server.connect());
        }
        idle.len() == room && server.connections() == room
    });
    (room, idle)
}

/// Takes out those that the server has closed, and counts them.
fn ended(connections: &mut Vec<Connection>) -> usize {
    let before = connections.len();
    connections.retain_mut(|connection| !connection.has_ended());
    before - connections.len()
}
