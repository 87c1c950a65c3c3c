//! What options change for the command.

use std::fs;

use super::{run_with, said};
use crate::support::{Transport, on_both_transports};

on_both_transports!(
    variables_are_set_and_removed_in_the_servers_environment,
    the_directory_is_the_one_that_is_named,
    merged_streams_keep_their_order,
    a_line_may_hold_what_ends_lines_elsewhere,
    a_program_is_looked_for_in_the_path_that_it_gets,
);

fn variables_are_set_and_removed_in_the_servers_environment(on: Transport) {
    let server = on.setup().shell("A=1; B=2; C=3; export A B C").start();
    let options = ["-u", "A", "-e", "B=two words", "--env", "D==", "-u", "D"];
    let output = run_with(&server, &options, &["echo \"${A-none},$B,$C,$D\""]);
    assert_eq!(said(&output), "none,two words,3,=", "{output:?}");
}

fn the_directory_is_the_one_that_is_named(on: Transport) {
    let server = on.server();
    let dir = fs::canonicalize(server.dir.path()).unwrap();
    let output = run_with(&server, &["-C", dir.to_str().unwrap()], &["pwd", "-P"]);
    assert_eq!(said(&output), dir.to_str().unwrap(), "{output:?}");
}

fn merged_streams_keep_their_order(on: Transport) {
    let server = on.server();
    let line = "for i in 1 2 3; do echo $i; echo $i >&2; done";
    let output = run_with(&server, &["--merge"], &[line]);
    assert_eq!(said(&output), "1\n1\n2\n2\n3\n3");
    assert!(output.stderr.is_empty());
}

fn a_line_may_hold_what_ends_lines_elsewhere(on: Transport) {
    let server = on.server();
    let output = run_with(&server, &[], &["printf 'a\r\nb'"]);
    assert_eq!(output.stdout, b"a\r\nb", "{output:?}");
}

fn a_program_is_looked_for_in_the_path_that_it_gets(on: Transport) {
    let server = on.server();
    let output = run_with(&server, &["-e", "PATH=/nonexistent"], &["cat", "/dev/null"]);
    assert_eq!(output.status.code(), Some(127), "{output:?}");
}
