//! When an answer comes, and what is in it.

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{
    A_WHILE, Connection, Reply, TestServer, Transport, on_both_transports, poll_until, request,
    state_of,
};

on_both_transports!(
    an_answer_is_status_and_two_counted_streams,
    the_status_is_the_raw_wait_status,
    every_exit_code_arrives,
    nothing_is_sent_before_the_command_has_ended,
    one_answer_then_the_connection_closes,
    a_background_child_that_holds_a_stream_is_waited_for,
    a_detached_background_child_is_not_waited_for,
    the_exit_is_waited_for_when_both_streams_have_ended,
    a_command_that_redirects_both_streams_gets_all_its_stdin,
    a_stopped_shell_is_waited_for,
    a_client_that_closes_after_a_whole_request_does_not_stop_its_command,
    a_client_that_vanishes_after_a_whole_request_does_not_stop_its_command,
    a_client_that_vanishes_during_its_command_does_not_stop_it,
    a_background_child_of_a_vanished_client_lives_on,
);

fn an_answer_is_status_and_two_counted_streams(on: Transport) {
    let server = on.server();
    let answer = server.exchange("echo out; echo err >&2; exit 3\r\n0\r\n");
    assert_eq!(answer, b"status:768\r\n4\r\nout\n4\r\nerr\n");
    assert_eq!(server.exchange("true\r\n0\r\n"), b"status:0\r\n0\r\n0\r\n");
    assert_eq!(
        server.exchange("printf '\\0\\r\\n'\r\n0\r\n"),
        b"status:0\r\n3\r\n\0\r\n0\r\n"
    );
}

fn the_status_is_the_raw_wait_status(on: Transport) {
    let server = on.server();
    let statuses = [
        ("exit 1", 256),
        ("/nonexistent/program", 32512),
        ("/", 32256),
        ("exit 255", 65280),
        ("kill -9 $$", 9),
        ("kill -15 $$", 15),
        ("kill -1 $$", 1),
        ("exec sh -c 'kill -64 $$'", 64),
        ("sh -c 'kill -9 $$'; exit $?", 35072),
    ];
    for (command, status) in statuses {
        assert_eq!(server.run(command).status, status, "{command}");
    }
}

fn every_exit_code_arrives(on: Transport) {
    let server = on.server();
    for code in 0..=255 {
        assert_eq!(server.run(format!("exit {code}")).status, code << 8);
    }
}

fn nothing_is_sent_before_the_command_has_ended(on: Transport) {
    let server = on.server();
    let gate = Gate::open(
        &server,
        "echo out; echo err >&2; head -c 1000 /dev/zero; echo > said; read go",
    );
    server.wait_for("said");
    assert!(gate.0.is_silent_for(A_WHILE));
    let reply = gate.pass();
    assert_eq!(
        (reply.status, reply.stdout.len(), reply.stderr.len()),
        (0, 1004, 4)
    );
}

fn one_answer_then_the_connection_closes(on: Transport) {
    // The client does not half-close: the server ends the connection of itself.
    assert_eq!(
        on.server().exchange("cat\r\n2\r\nhi"),
        b"status:0\r\n2\r\nhi0\r\n"
    );
}

fn a_background_child_that_holds_a_stream_is_waited_for(on: Transport) {
    let server = on.server();
    // In the shell a background child has /dev/null as stdin, but keeps the other descriptors.
    for (redirected, out, err) in [("2>&-", "now\nlate\n", ""), ("1>&2", "now\n", "late\n")] {
        let child = format!("exec 3<&0; (read go <&3; echo late) {redirected} & echo now");
        let gate = Gate::open(&server, &child);
        assert!(gate.0.is_silent_for(A_WHILE), "{child}");
        assert_eq!(gate.pass(), Reply::new(0, out, err), "{child}");
    }
}

fn a_detached_background_child_is_not_waited_for(on: Transport) {
    let server = on.server();
    let reply =
        server.run("(until [ -e go ]; do sleep 0.1; done; echo > gone) >/dev/null 2>&1 & echo now");
    assert_eq!(reply, Reply::new(0, "now\n", ""));
    assert!(!server.path("gone").exists());
    std::fs::write(server.path("go"), "").unwrap();
    server.wait_for("gone");
}

fn the_exit_is_waited_for_when_both_streams_have_ended(on: Transport) {
    let server = on.server();
    let gate = Gate::open(&server, "exec >&- 2>&-; read go; exit 5");
    assert!(gate.0.is_silent_for(A_WHILE));
    assert_eq!(gate.pass(), Reply::new(5 << 8, "", ""));
}

fn a_command_that_redirects_both_streams_gets_all_its_stdin(on: Transport) {
    let server = on.server();
    let mut connection = server.send("exec cat > file 2>&1\r\n10\r\nfirst");
    poll_until(|| server.read("file") == "first");
    assert!(connection.is_silent_for(A_WHILE));
    connection.send("+last");
    assert_eq!(connection.read_last_reply(), Reply::new(0, "", ""));
    assert_eq!(server.read("file"), "first+last");
}

fn a_stopped_shell_is_waited_for(on: Transport) {
    let server = on.server();
    let mut connection = server.send("echo $$ > pid; kill -STOP $$; echo on\r\n0\r\n");
    let pid: u32 = server.wait_for("pid").trim().parse().unwrap();
    poll_until(|| state_of(pid) == Some('T'));
    assert!(connection.is_silent_for(A_WHILE));
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::CONT).unwrap();
    assert_eq!(connection.read_last_reply(), Reply::new(0, "on\n", ""));
}

fn a_client_that_closes_after_a_whole_request_does_not_stop_its_command(on: Transport) {
    let server = on.server();
    drop(server.send(request("sleep 0.3; cat > ran; echo >> ran", "all of it")));
    assert_eq!(server.wait_for("ran"), "all of it\n");
}

fn a_client_that_vanishes_after_a_whole_request_does_not_stop_its_command(on: Transport) {
    let server = on.server();
    server
        .send(request("sleep 0.3; echo yes > ran", ""))
        .vanish();
    assert_eq!(server.wait_for("ran"), "yes\n");
}

fn a_client_that_vanishes_during_its_command_does_not_stop_it(on: Transport) {
    let server = on.server();
    let connection = server.send(request(
        "echo > started; echo out; sleep 0.5; echo yes > ran",
        "",
    ));
    server.wait_for("started");
    connection.vanish();
    assert_eq!(server.wait_for("ran"), "yes\n");
    assert_eq!(server.run("echo still here").out(), "still here\n");
}

fn a_background_child_of_a_vanished_client_lives_on(on: Transport) {
    let server = on.server();
    let connection = server.send(request("(sleep 0.3; echo yes > ran) & echo > started", ""));
    server.wait_for("started");
    connection.vanish();
    assert_eq!(server.wait_for("ran"), "yes\n");
}

/// A command that reads one line, which it gets only by `pass`.
struct Gate(Connection);

impl Gate {
    fn open(server: &TestServer, command: &str) -> Gate {
        Gate(server.send(format!("{command}\r\n1\r\n")))
    }

    fn pass(mut self) -> Reply {
        self.0.send("\n");
        self.0.read_last_reply()
    }
}
