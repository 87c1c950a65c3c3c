//! Connections run beside each other.

use std::fs::OpenOptions;
use std::io::Write;

use crate::support::{Reply, Transport, on_both_transports, poll_until};

on_both_transports!(
    connections_run_fully_in_parallel,
    two_hundred_commands_of_one_second_are_answered_under_1024_descriptors,
    many_clients_get_their_own_answers,
);

fn connections_run_fully_in_parallel(on: Transport) {
    let server = on.setup().shell("ulimit -n 1024; mkfifo gate").start();
    let commands =
        (0..200).map(|number| format!("echo >> running; read go < gate; echo {number}\r\n0\r\n"));
    let connections: Vec<_> = commands.map(|command| server.send(command)).collect();
    // Each waits for a line from the gate: so all two hundred run at once.
    poll_until(|| server.read("running").lines().count() == 200);
    let mut gate = OpenOptions::new()
        .read(true)
        .write(true)
        .open(server.path("gate"))
        .unwrap();
    gate.write_all(&[b'\n'; 200]).unwrap();
    for (number, mut connection) in connections.into_iter().enumerate() {
        assert_eq!(
            connection.read_last_reply(),
            Reply::new(0, format!("{number}\n"), "")
        );
    }
}

fn two_hundred_commands_of_one_second_are_answered_under_1024_descriptors(on: Transport) {
    let server = on.setup().shell("ulimit -n 1024").start();
    let connections: Vec<_> = (0..200)
        .map(|number| server.send(format!("sleep 1; echo {number}\r\n0\r\n")))
        .collect();
    for (number, mut connection) in connections.into_iter().enumerate() {
        assert_eq!(
            connection.read_last_reply(),
            Reply::new(0, format!("{number}\n"), "")
        );
    }
}

fn many_clients_get_their_own_answers(on: Transport) {
    let server = on.server();
    std::thread::scope(|scope| {
        for client in 0..16 {
            let server = &server;
            scope.spawn(move || {
                for round in 0..20 {
                    let text = format!("client {client} round {round}\n");
                    let reply = server.run_with("cat; echo err >&2; exit 1", &text);
                    assert_eq!(reply, Reply::new(256, text, "err\n"));
                }
            });
        }
    });
}
