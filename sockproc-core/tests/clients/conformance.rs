//! What commands do, as every client of every language sees it: tests/conformance/cases.txt.

use std::collections::BTreeMap;
use std::path::PathBuf;

use sockproc_core::connection::{Connection, Destination, Protocol};
use sockproc_core::embedded;
use sockproc_core::proto::ExitStatus;

use super::support::{DEADLINE, Driver, Server, Transport};

type Case = BTreeMap<String, Vec<u8>>;

#[test]
fn every_case_holds_for_both_clients() {
    let cases = cases();
    assert!(cases.len() >= 60, "only {} cases", cases.len());
    for driver in Driver::BOTH {
        for protocol in [Protocol::Classic, Protocol::Native, Protocol::Auto] {
            for transport in Transport::BOTH {
                let server = Server::start(transport);
                let destination = Destination::from(server.address.clone());
                for case in &cases {
                    check((driver, protocol), &destination, case);
                }
            }
            embedded::set_program([env!("CARGO_BIN_EXE_sockproc")]);
            for case in &cases {
                check((driver, protocol), &Destination::Embedded, case);
            }
            println!(
                "conformance ({driver:?}, {protocol:?}): {} cases",
                cases.len()
            );
        }
    }
}

fn check((driver, protocol): (Driver, Protocol), destination: &Destination, case: &Case) {
    let text = |key: &str| case.get(key).cloned().unwrap_or_default();
    let name = String::from_utf8(text("name")).unwrap();
    let (command, stdin) = (text("command"), text("stdin"));
    let run: Connection =
        Connection::with_protocol(protocol, destination.clone(), command, stdin).unwrap();
    let output = driver.drive(run, DEADLINE);
    let output = output.unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(output.stdout == text("stdout"), "{name}: {output:?}");
    assert!(output.stderr == text("stderr"), "{name}: {output:?}");
    assert_eq!(end(output.status), expected_end(case), "{name}");
}

/// The key and the value that say how a command ended.
fn end(status: ExitStatus) -> (&'static str, u8) {
    match status {
        ExitStatus::Code(code) => ("exit", code),
        ExitStatus::Signal { signal, .. } => ("signal", signal),
        _ => panic!("{status}"),
    }
}

fn expected_end(case: &Case) -> (&'static str, u8) {
    let number = |key| {
        Some(
            String::from_utf8(case.get(key)?.clone())
                .unwrap()
                .parse()
                .unwrap(),
        )
    };
    match (number("exit"), number("signal")) {
        (Some(code), None) => ("exit", code),
        (None, Some(signal)) => ("signal", signal),
        _ => panic!("a case has either exit or signal: {case:?}"),
    }
}

/// Reads the file as tests/README.md tells.
fn cases() -> Vec<Case> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/conformance/cases.txt");
    let text = std::fs::read_to_string(path).unwrap();
    let records = text.split("\n\n").map(case);
    records.filter(|case| !case.is_empty()).collect()
}

fn case(record: &str) -> Case {
    let mut case = Case::new();
    for line in record.lines() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = line.split_once(':').unwrap();
        let (key, times) = key.split_once('*').unwrap_or((key, "1"));
        let known = [
            "name", "command", "stdin", "stdout", "stderr", "exit", "signal",
        ];
        assert!(known.contains(&key), "{line}");
        let value = unescape(value.strip_prefix(' ').unwrap_or(value));
        let value = value.repeat(times.parse().unwrap());
        case.entry(key.to_owned()).or_default().extend(value);
    }
    case
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next().unwrap() {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'\\' => b'\\',
                b'x' => {
                    let digits = [rest.next().unwrap(), rest.next().unwrap()];
                    u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                other => panic!("no escape: \\{} in {text:?}", other as char),
            },
            other => other,
        });
    }
    bytes
}
