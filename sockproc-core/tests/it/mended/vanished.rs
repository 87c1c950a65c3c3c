//! A client that goes away inside its request takes its command with it.

use crate::support::{Reply, TestServer, Transport, is_alive, on_both_transports, poll_until};

on_both_transports!(
    a_client_gone_inside_the_command_line_runs_nothing,
    a_client_gone_inside_the_count_line_runs_nothing,
    a_client_gone_inside_stdin_completes_nothing,
    a_client_gone_inside_stdin_has_its_whole_group_killed,
    a_command_that_reads_no_stdin_is_killed_too,
    a_command_that_redirects_both_streams_is_killed_too,
    a_command_whose_stdin_is_full_is_killed_too,
    the_output_of_a_killed_command_is_dropped,
);

#[test]
fn on_tcp_a_plain_close_inside_stdin_is_a_half_close() {
    let server = Transport::Tcp.server();
    drop(server.send("cat > t && echo >> t && mv t final\r\n10\r\nabc"));
    assert_eq!(server.wait_for("final"), "abc\n");
}

fn a_client_gone_inside_the_command_line_runs_nothing(on: Transport) {
    let server = on.server();
    for bytes in [
        "echo > ran",
        "echo > ran; ",
        "echo > ran\n",
        "echo > ran\r",
        "e",
    ] {
        server.send(bytes).vanish();
    }
    nothing_ran(&server);
}

fn a_client_gone_inside_the_count_line_runs_nothing(on: Transport) {
    let server = on.server();
    for bytes in [
        "echo > ran\r\n",
        "echo > ran\r\n0",
        "echo > ran\r\n0\r",
        "echo > ran\r\n12",
    ] {
        server.send(bytes).vanish();
    }
    nothing_ran(&server);
}

fn a_client_gone_inside_stdin_completes_nothing(on: Transport) {
    let server = on.server();
    for _ in 0..20 {
        let connection =
            server.send("echo $$ > pid; cat > t && mv t final; echo > ran\r\n10\r\nabc");
        let pid: u32 = server.wait_for("pid").trim().parse().unwrap();
        std::fs::remove_file(server.path("pid")).unwrap();
        connection.vanish();
        poll_until(|| !is_alive(pid));
        assert!(!server.path("final").exists() && !server.path("ran").exists());
    }
    nothing_ran(&server);
}

fn a_client_gone_inside_stdin_has_its_whole_group_killed(on: Transport) {
    let server = on.server();
    // None of these ends by itself, by a signal that can be caught, or at the end of its stdin.
    let command = "trap '' TERM HUP INT; (sleep 1000; echo > ran) & (while :; do sleep 1000; done) & \
                   ps -o pid= --ppid $$ > pids; echo $$ >> pids; mv pids all; cat; echo > ran; sleep 1000";
    let connection = server.send(format!("{command}\r\n10\r\nabc"));
    poll_until(|| server.path("all").exists());
    let pids: Vec<u32> = server
        .read("all")
        .split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect();
    assert!(pids.len() >= 3, "{pids:?}");
    connection.vanish();
    poll_until(|| !pids.iter().any(|&pid| is_alive(pid)));
    nothing_ran(&server);
}

fn a_command_that_reads_no_stdin_is_killed_too(on: Transport) {
    let server = on.server();
    for command in ["exec sleep 1000", "exec <&-; sleep 1000"] {
        let connection = server.send(format!("echo $$ > pid; {command}; echo > ran\r\n10\r\nabc"));
        let pid: u32 = server.wait_for("pid").trim().parse().unwrap();
        std::fs::remove_file(server.path("pid")).unwrap();
        connection.vanish();
        poll_until(|| !is_alive(pid));
    }
    nothing_ran(&server);
}

fn a_command_that_redirects_both_streams_is_killed_too(on: Transport) {
    let server = on.server();
    let connection = server.send("echo $$ > pid; exec >t 2>&1; cat; echo > ran\r\n10\r\nabc");
    poll_until(|| server.read("t") == "abc");
    let pid: u32 = server.wait_for("pid").trim().parse().unwrap();
    connection.vanish();
    poll_until(|| !is_alive(pid));
    nothing_ran(&server);
}

fn a_command_whose_stdin_is_full_is_killed_too(on: Transport) {
    let server = on.server();
    let mut connection = server.send("echo $$ > pid; sleep 1000; echo > ran\r\n10000000\r\n");
    let pid: u32 = server.wait_for("pid").trim().parse().unwrap();
    // More than a pipe holds: the server cannot get rid of all of it.
    connection.send(vec![0; 150_000]);
    connection.vanish();
    poll_until(|| !is_alive(pid));
    nothing_ran(&server);
}

fn the_output_of_a_killed_command_is_dropped(on: Transport) {
    let server = on.server();
    for _ in 0..5 {
        let connection = server.send("echo $$ > pid; exec yes\r\n10\r\nabc");
        let pid: u32 = server.wait_for("pid").trim().parse().unwrap();
        std::fs::remove_file(server.path("pid")).unwrap();
        connection.vanish();
        poll_until(|| !is_alive(pid));
    }
    nothing_ran(&server);
}

/// The server has let go of every connection, answers, and no command got as far as its mark.
fn nothing_ran(server: &TestServer) {
    poll_until(|| crate::support::descendants(server.pid()).is_empty());
    assert_eq!(
        server.run("echo still here"),
        Reply::new(0, "still here\n", "")
    );
    assert!(!server.path("ran").exists());
}
