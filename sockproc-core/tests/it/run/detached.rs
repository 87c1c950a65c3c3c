//! Commands that finish without us.

use std::fs;

use super::{OWN_FAILURE, complained, run_with, sockproc};
use crate::support::{Transport, finish, on_both_transports, poll_until};

on_both_transports!(
    a_detached_command_goes_on_when_run_has_returned,
    a_detached_command_that_cannot_be_started_is_told,
);

fn a_detached_command_goes_on_when_run_has_returned(on: Transport) {
    let server = on.server();
    let (go, done) = (server.path("go"), server.path("done"));
    let line = format!(
        "until [ -e {} ]; do sleep 0.01; done; echo done > {}",
        go.display(),
        done.display()
    );
    // Its output is a pipe of ours, which `finish` reads to its end.
    let line = format!("exec >/dev/null 2>&1; {line}");
    let output = run_with(&server, &["-d", "--json"], &[&line]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(complained(&output).starts_with("{\"pid\":"), "{output:?}");
    assert!(!done.exists());
    fs::write(&go, "").unwrap();
    poll_until(|| done.exists());
}

fn a_detached_command_that_cannot_be_started_is_told(on: Transport) {
    let server = on.server();
    let output = run_with(&server, &["-d"], &["/nonexistent/program", "x"]);
    assert_eq!(output.status.code(), Some(127), "{output:?}");
}

#[test]
fn a_command_cannot_outlive_the_server_inside_this_process() {
    let output = finish(sockproc(&["run", "-d", "--", "true"]));
    assert_eq!(output.status.code(), Some(OWN_FAILURE), "{output:?}");
    assert!(complained(&output).contains("server"), "{output:?}");
}

#[test]
fn over_tcp_a_detached_command_cannot_read_our_stdin() {
    let server = Transport::Tcp.server();
    let output = run_with(&server, &["-d", "--stdin", "/dev/null"], &["true"]);
    assert_eq!(output.status.code(), Some(OWN_FAILURE), "{output:?}");
    assert!(complained(&output).contains("stdin"), "{output:?}");
}
