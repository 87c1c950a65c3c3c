//! A server that is killed: no command takes that for the end of its input.

use rustix::process::Signal;

use crate::support::{
    Connection, TestServer, Transport, is_alive, marked, on_both_transports, poll_until,
};

on_both_transports!(no_command_with_half_of_its_stdin_completes,);

const RUNS: usize = 50;

fn no_command_with_half_of_its_stdin_completes(on: Transport) {
    let server = on.server();
    let _clients = half_fed(&server, |number| {
        format!("cat > t{number}; mv t{number} done{number}")
    });
    nothing_is_done_after_kill_9(server);
}

fn half_fed(server: &TestServer, command: impl Fn(usize) -> String) -> Vec<Connection> {
    let mark = mark(server);
    let clients: Vec<_> = (0..RUNS)
        .map(|number| {
            let command = command(number);
            let run = format!("SOCKPROC_TEST_MARK={mark} exec sh -c 'echo > s{number}; {command}'");
            server.send(format!("{run}\r\n10\r\nabcd"))
        })
        .collect();
    poll_until(|| (0..RUNS).all(|number| server.path(&format!("s{number}")).exists()));
    clients
}

fn nothing_is_done_after_kill_9(mut server: TestServer) {
    let mark = mark(&server);
    let pids = marked(&mark);
    assert!(pids.len() >= RUNS);
    server.signal(Signal::KILL);
    server.wait();
    poll_until(|| !pids.iter().any(|&pid| is_alive(pid)));
    let files = std::fs::read_dir(server.dir.path()).unwrap().flatten();
    let names = files.map(|file| file.file_name().into_string().unwrap());
    let done: Vec<_> = names.filter(|name| name.starts_with("done")).collect();
    assert!(done.is_empty(), "{done:?}");
}

fn mark(server: &TestServer) -> String {
    format!("fed.{}", server.pid())
}
