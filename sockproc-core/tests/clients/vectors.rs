//! tests/vectors/classic.txt, replayed against both sides.

use std::collections::BTreeMap;
use std::path::PathBuf;

use sockproc_core::proto::classic::{ClientSession, ServerSession};
use sockproc_core::proto::{Invocation, Request, WaitStatus};

use super::replay::{Answer, Asked, cut, hear_answer, hear_request};

/// The words of a record and their values; `name` is its first comment.
type Record = BTreeMap<String, Vec<u8>>;

fn records() -> Vec<Record> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/classic.txt");
    let text = std::fs::read_to_string(path).unwrap();
    let records = text.split("\n\n").map(record);
    records.filter(|record| record.len() > 1).collect()
}

fn record(text: &str) -> Record {
    let mut record = Record::new();
    for line in text.lines() {
        let (word, value) = line.split_once(' ').unwrap_or((line, ""));
        let value = match word {
            "#" if record.contains_key("name") => continue,
            "#" => {
                record.insert("name".into(), value.into());
                continue;
            }
            "C" | "c" | "S" | "command" | "stdin" | "stdout" | "stderr" => bytes(value),
            "status" | "bad" => value.into(),
            "half-close" => Vec::new(),
            _ => panic!("unknown word: {line}"),
        };
        record.insert(word.into(), value);
    }
    record
}

pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2);
    let digits = pairs.map(|pair| std::str::from_utf8(pair).unwrap());
    digits
        .map(|pair| u8::from_str_radix(pair, 16).unwrap())
        .collect()
}

fn is_bad(record: &Record, what: &str) -> bool {
    record.get("bad").is_some_and(|bad| bad == what.as_bytes())
}

fn name(record: &Record) -> String {
    String::from_utf8_lossy(&record["name"]).into_owned()
}

#[test]
fn a_client_writes_exactly_the_bytes_of_each_request() {
    let mut count = 0;
    for record in records() {
        let Some(wire) = record.get("C") else {
            continue;
        };
        let stdin = record["stdin"].clone();
        let line = record["command"].clone();
        let request = Request::line(line).with_stdin(stdin.len() as u64);
        let mut session = ClientSession::new();
        let head = session.send_run(&request).unwrap();
        let stdin = session.send_stdin(stdin.into()).unwrap();
        assert_eq!([head, stdin].concat(), *wire, "{}", name(&record));
        count += 1;
    }
    assert!(count >= 30, "{count} requests");
}

#[test]
fn a_server_understands_each_request_wherever_it_is_cut() {
    let mut count = 0;
    for record in records() {
        let wire = record.get("C").or(record.get("c")).unwrap();
        let half_close = record.contains_key("half-close");
        for len in 1..=wire.len().max(1) {
            let asked = hear_request(cut(wire, &[len]), half_close);
            if is_bad(&record, "request") {
                assert!(asked.is_err(), "{}: {asked:?}", name(&record));
                continue;
            }
            let Asked {
                request,
                stdin,
                whole,
            } = asked.unwrap();
            assert_eq!(
                request.unwrap().invocation,
                Invocation::Line(record["command"].clone().into()),
                "{}",
                name(&record)
            );
            assert_eq!(stdin, record["stdin"], "{}", name(&record));
            assert!(whole, "{}", name(&record));
        }
        count += 1;
    }
    assert!(count >= 45, "{count} requests");
}

#[test]
fn a_client_understands_each_answer_wherever_it_is_cut() {
    let mut count = 0;
    for record in records() {
        let Some(wire) = record.get("S") else {
            continue;
        };
        for len in 1..=wire.len().max(1) {
            let answer = hear_answer(cut(wire, &[len]));
            if is_bad(&record, "reply") {
                assert!(answer.is_err(), "{}: {answer:?}", name(&record));
                continue;
            }
            let expected = Answer {
                status: Some(status(&record)),
                stdout: record["stdout"].clone(),
                stderr: record["stderr"].clone(),
            };
            assert_eq!(answer, Ok(expected), "{}", name(&record));
        }
        count += 1;
    }
    assert!(count >= 40, "{count} answers");
}

#[test]
fn a_server_writes_exactly_the_bytes_of_each_answer() {
    let mut count = 0;
    for record in records() {
        let (Some(wire), Some(stdout)) = (record.get("S"), record.get("stdout")) else {
            continue;
        };
        let stderr = &record["stderr"];
        let session = ServerSession::new();
        let head = session.send_exited(status(&record), stdout.len() as u64);
        let middle = session.send_stderr_len(stderr.len() as u64);
        let written = [&head[..], stdout, &middle, stderr].concat();
        assert_eq!(written, *wire, "{}", name(&record));
        count += 1;
    }
    assert!(count >= 25, "{count} answers");
}

fn status(record: &Record) -> WaitStatus {
    let text = String::from_utf8(record["status"].clone()).unwrap();
    WaitStatus::from_raw(text.parse().unwrap())
}
