//! Limits on the command line.

use std::time::{Duration, Instant};

use super::{OWN_FAILURE, complained, run_with, said};
use crate::support::{Transport, on_both_transports};

on_both_transports!(
    a_timeout_ends_the_command_and_is_124,
    silence_ends_the_command_and_output_does_not,
    output_past_its_limit_ends_the_command,
    grace_is_the_time_from_sigterm_to_sigkill,
    output_comes_while_the_command_runs,
);

const TIMED_OUT: i32 = 124;

/// Far more than any command here takes, far less than what it would take without the limit.
const SOON: Duration = Duration::from_secs(20);

fn a_timeout_ends_the_command_and_is_124(on: Transport) {
    let server = on.server();
    let begun = Instant::now();
    let output = run_with(
        &server,
        &["--timeout", "300ms"],
        &["echo a; sleep 1000 | cat"],
    );
    assert!(begun.elapsed() < SOON);
    assert_eq!(output.status.code(), Some(TIMED_OUT), "{output:?}");
    assert_eq!(said(&output), "a");
    assert!(complained(&output).contains("timeout"), "{output:?}");
}

fn silence_ends_the_command_and_output_does_not(on: Transport) {
    let server = on.server();
    let line = "for i in 1 2 3 4 5; do echo $i; sleep 0.3; done; exec sleep 1000";
    let output = run_with(&server, &["--idle-timeout", "1"], &[line]);
    assert_eq!(output.status.code(), Some(TIMED_OUT), "{output:?}");
    assert_eq!(said(&output), "1\n2\n3\n4\n5");
}

fn output_past_its_limit_ends_the_command(on: Transport) {
    let server = on.server();
    let output = run_with(&server, &["--max-output", "10K"], &["exec yes"]);
    assert_eq!(output.status.code(), Some(OWN_FAILURE), "{output:?}");
    assert_eq!(output.stdout.len(), 10 * 1024);
    assert!(complained(&output).contains("limit"), "{output:?}");
}

fn grace_is_the_time_from_sigterm_to_sigkill(on: Transport) {
    let server = on.server();
    let options = ["--timeout", "2", "--grace", "1"];
    let line = "trap 'echo asked' TERM; while :; do sleep 0.01; done";
    let begun = Instant::now();
    let output = run_with(&server, &options, &[line]);
    let elapsed = begun.elapsed();
    assert!(
        elapsed >= Duration::from_secs(3) && elapsed < SOON,
        "{elapsed:?}"
    );
    assert_eq!(output.status.code(), Some(TIMED_OUT), "{output:?}");
    assert!(said(&output).starts_with("asked"), "{output:?}");
}

fn output_comes_while_the_command_runs(on: Transport) {
    let server = on.server();
    let mut command = super::sockproc(&["run", "--server"]);
    command
        .arg(server.address.full())
        .args(["--", "echo first; read line; echo \"$line\""])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped());
    let mut run = command.spawn().unwrap();
    let mut stdout = std::io::BufReader::new(run.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
    assert_eq!(line, "first\n");
    let mut stdin = run.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, b"second\n").unwrap();
    std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
    assert_eq!(line, "first\nsecond\n");
    assert!(run.wait().unwrap().success());
}
