//! The record that `--json` asks for.

use std::fs;

use super::{OWN_FAILURE, complained, run_with};
use crate::support::{Transport, on_both_transports};

on_both_transports!(
    the_record_is_the_last_line_of_stderr,
    a_file_holds_the_record_and_nothing_else,
    a_refusal_has_a_record_too,
    a_record_that_cannot_be_written_is_our_failure,
);

fn the_record_is_the_last_line_of_stderr(on: Transport) {
    let server = on.server();
    let output = run_with(&server, &["--json"], &["echo err >&2; kill -9 $$"]);
    let told = complained(&output);
    let (first, record) = told.split_once('\n').unwrap();
    assert_eq!(first, "err");
    assert!(
        record.starts_with("{\"pid\":") && record.ends_with("}\n"),
        "{record}"
    );
    assert!(record.contains("\"signal\":9,\"core\":false"), "{record}");
    assert!(record.contains("\"wall_us\":"), "{record}");
}

fn a_file_holds_the_record_and_nothing_else(on: Transport) {
    let server = on.server();
    let path = server.path("record");
    fs::write(&path, "old ".repeat(1000)).unwrap();
    let option = format!("--json={}", path.display());
    let options = ["--idle-timeout", "60", &option];
    let output = run_with(&server, &options, &["printf abc; printf de >&2; exit 3"]);
    assert_eq!(output.stderr, b"de");
    let record = fs::read_to_string(path).unwrap();
    assert!(
        record.starts_with('{') && record.ends_with("}\n"),
        "{record}"
    );
    for field in ["\"exit\":3,", "\"stdout_bytes\":3,", "\"stderr_bytes\":2,"] {
        assert!(record.contains(field), "{record}");
    }
}

fn a_refusal_has_a_record_too(on: Transport) {
    let server = on.server();
    let output = run_with(&server, &["--json"], &["/nonexistent/program", "x"]);
    let told = complained(&output);
    let record = told.lines().last().unwrap();
    let end = "\"refused\":\"cannot-spawn\",\"step\":\"exec\",\"errno\":2,\"may_have_run\":false}";
    assert!(
        record.starts_with("{\"error\":\"") && record.ends_with(end),
        "{record}"
    );
}

fn a_record_that_cannot_be_written_is_our_failure(on: Transport) {
    let server = on.server();
    let output = run_with(&server, &["--json=/dev/full"], &["true"]);
    assert_eq!(output.status.code(), Some(OWN_FAILURE), "{output:?}");
    let marker = server.path("marker");
    let line = format!("touch {}", marker.display());
    let output = run_with(&server, &["--json=/nonexistent/record"], &[&line]);
    assert_eq!(output.status.code(), Some(OWN_FAILURE), "{output:?}");
    assert!(
        complained(&output).contains("/nonexistent/record"),
        "{output:?}"
    );
    assert!(!marker.exists(), "it was found too late");
}
