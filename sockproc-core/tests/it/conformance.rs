//! Runs `tests/conformance/cases.txt`; its format is defined in `tests/README.md`.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use sockproc_core::Output;
use sockproc_core::{Address, blocking, client};

use crate::support::{TestServer, Transport, on_both_transports};

on_both_transports!(
    every_case_passes_over_a_raw_socket,
    every_case_passes_through_the_blocking_client,
    every_case_passes_through_the_async_client,
);

fn every_case_passes_over_a_raw_socket(on: Transport) {
    let server = on.server();
    run_all(|command, stdin| {
        let reply = server.run_with(command, stdin);
        (reply.status, reply.stdout, reply.stderr)
    });
}

fn every_case_passes_through_the_blocking_client(on: Transport) {
    let server = on.server();
    let client = blocking::Client::new(address_of(&server));
    run_all(|command, stdin| outcome(client.run(command.to_vec(), stdin.to_vec()).unwrap()));
}

fn every_case_passes_through_the_async_client(on: Transport) {
    let server = on.server();
    let client = client::Client::new(address_of(&server));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    run_all(|command, stdin| {
        outcome(
            runtime
                .block_on(client.run(command.to_vec(), stdin.to_vec()))
                .unwrap(),
        )
    });
}

fn address_of(server: &TestServer) -> Address {
    server.address.full().to_str().unwrap().parse().unwrap()
}

fn outcome(output: Output) -> Outcome {
    (
        output.status.wait_status().unwrap().raw(),
        output.stdout,
        output.stderr,
    )
}

/// A command's wait status, stdout and stderr.
pub(crate) type Outcome = (i32, Vec<u8>, Vec<u8>);

/// Runs every case through a client, prints how many there were, and fails with the names of those that came out otherwise.
#[track_caller]
pub(crate) fn run_all(mut run: impl FnMut(&[u8], &[u8]) -> Outcome) {
    let cases = load();
    let failed: Vec<String> = cases
        .iter()
        .filter_map(|case| case.check(run(&case.command, &case.stdin)))
        .collect();
    println!("conformance: {} cases", cases.len());
    assert!(
        failed.is_empty(),
        "{} of {} cases failed:\n{}",
        failed.len(),
        cases.len(),
        failed.join("\n")
    );
}

#[derive(Default)]
struct Case {
    name: String,
    command: Vec<u8>,
    stdin: Vec<u8>,
    expected: Outcome,
}

impl Case {
    /// What came out otherwise.
    fn check(&self, (status, stdout, stderr): Outcome) -> Option<String> {
        // Whether a core was dumped depends on the machine.
        let status = if status & 0x7f == 0 {
            status
        } else {
            status & 0x7f
        };
        let came = (status, stdout, stderr);
        (came != self.expected).then(|| {
            format!(
                "{}: expected {}, came {}",
                self.name,
                show(&self.expected),
                show(&came)
            )
        })
    }
}

fn show((status, stdout, stderr): &Outcome) -> String {
    let cut = |bytes: &[u8]| bytes[..bytes.len().min(80)].escape_ascii().to_string();
    let (out, err) = (stdout.len(), stderr.len());
    format!(
        "status {status}, {out} bytes `{}`, {err} bytes `{}`",
        cut(stdout),
        cut(stderr)
    )
}

fn load() -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/conformance/cases.txt");
    let text = fs::read_to_string(path).unwrap();
    let cases: Vec<Case> = text.split("\n\n").filter_map(parse).collect();
    let names: HashSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(
        names.len(),
        text.matches("\nname: ").count(),
        "every record is a case of its own name"
    );
    assert!(
        names.len() >= 60,
        "{} cases are too few to be all",
        names.len()
    );
    cases
}

fn parse(record: &str) -> Option<Case> {
    let mut lines = record
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .peekable();
    lines.peek()?;
    let mut case = Case {
        expected: (-1, Vec::new(), Vec::new()),
        ..Case::default()
    };
    for line in lines {
        let (key, value) = line
            .split_once(':')
            .unwrap_or_else(|| panic!("no key: {line}"));
        let (key, times) = key.split_once('*').unwrap_or((key, "1"));
        let value =
            unescape(value.strip_prefix(' ').unwrap_or(value)).repeat(times.parse().unwrap());
        let number = || str::from_utf8(&value).unwrap().parse::<u8>().unwrap();
        match key {
            "name" => case.name = String::from_utf8(value).unwrap(),
            "command" => case.command.extend(value),
            "stdin" => case.stdin.extend(value),
            "stdout" => case.expected.1.extend(value),
            "stderr" => case.expected.2.extend(value),
            "exit" => case.expected.0 = i32::from(number()) << 8,
            "signal" => case.expected.0 = i32::from(number()),
            _ => panic!("no such key: {line}"),
        }
    }
    assert!(
        !case.name.is_empty() && case.expected.0 >= 0,
        "half a case: {record}"
    );
    Some(case)
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next() {
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'\\') => b'\\',
                Some(b'x') => {
                    let digits =
                        [rest.next(), rest.next()].map(|digit| digit.expect("two hex digits"));
                    u8::from_str_radix(str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                other => panic!("no such escape: {other:?} in {text}"),
            },
            _ => byte,
        });
    }
    bytes
}
