//! What no server runs: each is refused, and the refusal names the value.

use bytes::Bytes;

use super::run::{read_run, run};
use crate::proto::{ProtocolError, RefusalKind, Request, StreamMode};

/// What a request of these records, with `|` for NUL, is refused with.
fn refusal(records: &str) -> (RefusalKind, String) {
    match read_run(Bytes::from(records.replace('|', "\0"))) {
        Err(ProtocolError::BadRequest(refusal)) => (refusal.kind, refusal.message),
        other => panic!("{records}: {other:?}"),
    }
}

#[test]
fn a_record_that_is_not_known_is_refused_by_its_name() {
    let message = r#"RUN: unknown record "colour""#.to_owned();
    let expected = (RefusalKind::Unsupported, message);
    assert_eq!(refusal("arg=ls|colour=red|"), expected);
    assert_eq!(refusal("=|").1, r#"RUN: unknown record """#);
}

/// Records, and the message that refuses them.
const BAD_VALUES: &[(&str, &str)] = &[
    ("", "arg: argv is empty"),
    ("arg=ls|line=ls|", "line: arg is there too"),
    (
        "line=ls|program=ls|",
        "program: there is no arg that it could replace",
    ),
    ("line=a|line=b|", "line: it comes twice"),
    ("arg=ls|cwd=/|cwd=/|", "cwd: it comes twice"),
    ("arg=ls|token=t|", "token: it is not the first record"),
    ("arg=ls|env=A|", r#"env: it must be NAME=value, not "A""#),
    ("arg=ls|env==b|", r#"env: it must be NAME=value, not "=b""#),
    (
        "arg=ls|unenv=|",
        r#"unenv: it must be a name without =, not """#,
    ),
    (
        "arg=ls|unenv=A=|",
        r#"unenv: it must be a name without =, not "A=""#,
    ),
    (
        "arg=ls|clear_env=2|",
        r#"clear_env: it must be 0 or 1, not "2""#,
    ),
    (
        "arg=ls|stdin=stdout|",
        r#"stdin: it must be null, frames, fd or closed, not "stdout""#,
    ),
    (
        "arg=ls|fd=2|",
        r#"fd: it must be a number from 3 to 1048575, not "2""#,
    ),
    ("arg=ls|fd=4|fd=4|", "fd: 4 comes twice"),
    (
        "arg=ls|umask=0o22|",
        r#"umask: it must be a decimal number from 0 to 511, not "0o22""#,
    ),
    (
        "arg=ls|umask=512|",
        r#"umask: it must be a decimal number from 0 to 511, not "512""#,
    ),
    (
        "arg=ls|user=4294967295|",
        r#"user: it must be a number from 0 to 4294967294, not "4294967295""#,
    ),
    (
        "arg=ls|ignore_signal=0|",
        r#"ignore_signal: it must be a number from 1 to 64, not "0""#,
    ),
    (
        "arg=ls|terminal=1|",
        "terminal: stdin is no passed descriptor",
    ),
    (
        "arg=ls|session=1|process_group=9|",
        "process_group: the leader of a session cannot join a group",
    ),
    ("arg=ls", r#"RUN: no NUL ends the record "arg=ls""#),
    ("arg|", r#"RUN: no = in the record "arg""#),
];

#[test]
fn every_bad_value_is_named() {
    for &(records, message) in BAD_VALUES {
        let expected = (RefusalKind::BadRequest, message.to_owned());
        assert_eq!(refusal(records), expected, "{records}");
    }
}

#[test]
fn a_timeout_of_0_is_refused_and_one_of_all_64_bits_is_the_longest() {
    for name in [
        "timeout",
        "idle_timeout",
        "queue_timeout",
        "grace",
        "linger",
    ] {
        for value in ["0", "", "-1", "1.5"] {
            let (_, message) = refusal(&format!("arg=ls|{name}={value}|"));
            assert!(
                message.starts_with(&format!("{name}: it must be a number of")),
                "{message}"
            );
        }
        let records = format!("arg=ls\0{name}=18446744073709551616\0");
        assert!(read_run(records.into()).is_ok());
    }
}

#[test]
fn limits_that_need_the_bytes_are_refused_where_these_pass_by() {
    for stream in ["stdout=fd|", "stderr=fd|"] {
        for limit in ["idle_timeout", "linger", "max_output"] {
            let (_, message) = refusal(&format!("arg=ls|{stream}{limit}=9|"));
            assert!(
                message.starts_with(&format!("{limit}: it needs output in frames")),
                "{message}"
            );
        }
    }
    assert!(read_run("arg=ls\0stdin=fd\0max_output=9\0".into()).is_ok());
}

#[test]
fn sixteen_descriptors_may_be_passed_and_no_more() {
    let fds = |count| -> String { (3..3 + count).map(|fd| format!("fd={fd}|")).collect() };
    let (_, message) = refusal(&format!("arg=ls|stdin=fd|{}", fds(16)));
    assert_eq!(message, "fd: 17 descriptors are more than 16");
    let records = format!("arg=ls|stdin=fd|{}", fds(15)).replace('|', "\0");
    assert_eq!(read_run(records.into()).unwrap().descriptors(), 16);
}

#[test]
fn a_client_does_not_send_what_would_be_refused() {
    let invalid = |change: fn(&mut Request)| {
        let mut request = Request::line("true");
        change(&mut request);
        match run(&request) {
            Err(error) => {
                assert!(error.is_local());
                error.to_string()
            }
            Ok(frame) => panic!("{frame:?}"),
        }
    };
    let nul = invalid(|request| request.cwd = Some("a\0b".into()));
    assert_eq!(nul, "cwd: it holds a NUL");
    let mode = invalid(|request| request.stdin = StreamMode::Stdout);
    assert!(mode.starts_with("stdin: it must be"), "{mode}");
    let variable = invalid(|request| request.environment.set.push("=".into()));
    assert!(variable.starts_with("env: it must be"), "{variable}");
    let long = invalid(|request| request.cwd = Some(vec![b'/'; super::MAX_RUN_LEN].into()));
    assert_eq!(long, "a request of 2097167 bytes is longer than 2097152");
}
