//! tests/vectors/native.txt, replayed against both sides.

use std::path::PathBuf;

use sockproc_core::proto::native::{ClientSession, ServerSession};
use sockproc_core::proto::opening::{GREETING, OPENING};
use sockproc_core::proto::{ClientEvent, ProtocolError, Request, ServerEvent, Stream};

use super::requests::request;
use super::values::{exit, kind_word, refusal, signal, stream};
use crate::replay::cut;
use crate::replay_native::{Heard, everything_in_frames, hear_client, hear_server};
use crate::vectors::bytes;

/// One conversation as one side leads it.
struct Vector {
    name: String,
    /// `C`, `c`, `S` or `s`.
    kind: String,
    wire: Vec<u8>,
    /// Words and values of what happens.
    lines: Vec<(String, String)>,
}

impl Vector {
    fn all() -> Vec<Self> {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/native.txt");
        let text = std::fs::read_to_string(path).unwrap();
        text.split("\n\n").skip(1).map(Self::parse).collect()
    }

    fn parse(text: &str) -> Self {
        let mut lines = text.lines().map(|line| {
            let (word, value) = line.split_once(' ').unwrap_or((line, ""));
            (word.to_owned(), value.to_owned())
        });
        let (_, name) = lines.next().unwrap();
        let (kind, wire) = lines.next().unwrap();
        Self {
            name,
            kind,
            wire: bytes(&wire),
            lines: lines.collect(),
        }
    }

    fn of(kinds: &str) -> Vec<Self> {
        let mut all = Self::all();
        all.retain(|vector| kinds.contains(&vector.kind));
        all
    }

    /// The request that a client is asked for.
    fn request(&self) -> Request {
        let runs = self.lines.iter().filter(|(word, _)| word == "run");
        let records: Vec<&str> = runs.map(|(_, record)| record.as_str()).collect();
        request(&records)
    }

    /// All that happens besides.
    fn others(&self) -> impl Iterator<Item = (&str, &str)> {
        let lines = self.lines.iter().filter(|(word, _)| word != "run");
        lines.map(|(word, value)| (word.as_str(), value.as_str()))
    }

    fn cuts(&self) -> impl Iterator<Item = Vec<&[u8]>> {
        let lengths = (1..=self.wire.len().max(1)).filter(|len| *len < 40 || len % 37 == 0);
        lengths.map(|len| cut(&self.wire, &[len]))
    }
}

#[test]
fn a_client_writes_exactly_these_frames() {
    let vectors = Vector::of("C");
    for vector in &vectors {
        let mut session = ClientSession::new();
        let mut written = OPENING.to_vec();
        written.extend_from_slice(&session.send_run(&vector.request()).unwrap());
        for (word, value) in vector.others() {
            let frame = match word {
                "stdin" => session.send_stdin(bytes(value).into()).unwrap().concat(),
                "stdin-end" => session.send_stdin_end().unwrap().to_vec(),
                "signal" => {
                    let (number, to) = signal(value);
                    session.send_signal(number, to).unwrap().to_vec()
                }
                "cancel" => session.send_cancel().unwrap().to_vec(),
                _ => panic!("unknown word: {word}"),
            };
            written.extend_from_slice(&frame);
        }
        assert_eq!(written, vector.wire, "{}", vector.name);
    }
    assert!(vectors.len() >= 15, "{}", vectors.len());
}

#[test]
fn a_server_understands_each_client_wherever_it_is_cut() {
    let vectors = Vector::of("Cc");
    for vector in &vectors {
        let mut expected = Vec::new();
        if vector.lines.iter().any(|(word, _)| word == "run") {
            expected.push(ServerEvent::Run(Box::new(vector.request())));
        }
        let mut end = None;
        for (word, value) in vector.others() {
            expected.push(match word {
                "stdin" => ServerEvent::Stdin(bytes(value).into()),
                "stdin-end" => ServerEvent::StdinEnd,
                "signal" => {
                    let (number, to) = signal(value);
                    ServerEvent::Signal { number, to }
                }
                "cancel" => ServerEvent::Cancel,
                "refused" | "error" => {
                    end = Some((word, value));
                    continue;
                }
                _ => panic!("unknown word: {word}"),
            });
        }
        if end.is_none() {
            expected.push(ServerEvent::Gone);
        }
        for pieces in vector.cuts() {
            let heard = hear_client(pieces, true);
            assert_eq!(heard.events, expected, "{}", vector.name);
            let told = heard.error.map(|error| match error {
                ProtocolError::BadRequest(refusal) => ("refused", kind_word(refusal.kind)),
                _ => ("error", ""),
            });
            assert_eq!(told, end, "{}", vector.name);
        }
    }
    assert!(vectors.len() >= 55, "{}", vectors.len());
}

#[test]
fn a_server_writes_exactly_these_frames() {
    let vectors = Vector::of("S");
    for vector in &vectors {
        let mut session = ServerSession::new();
        session.receive_data(
            &ClientSession::new()
                .send_run(&everything_in_frames())
                .unwrap(),
        );
        assert!(matches!(
            session.next_event(),
            Ok(Some(ServerEvent::Run(_)))
        ));
        let mut written = GREETING.to_vec();
        for (word, value) in vector.others() {
            written.extend_from_slice(&frame(&mut session, word, value));
        }
        assert_eq!(written, vector.wire, "{}", vector.name);
    }
    assert!(vectors.len() >= 15, "{}", vectors.len());
}

/// What a server sends for this line of a vector.
fn frame(session: &mut ServerSession, word: &str, value: &str) -> Vec<u8> {
    match word {
        "started" => session
            .send_started(value.parse().unwrap())
            .unwrap()
            .to_vec(),
        "stdout" | "stderr" => {
            let data = bytes(value);
            let header = session.send_data(stream(word), data.len()).unwrap();
            [&header[..], &data].concat()
        }
        "stdout-end" => session.send_end(Stream::Stdout).unwrap().to_vec(),
        "stderr-end" => session.send_end(Stream::Stderr).unwrap().to_vec(),
        "stdin-closed" => session.send_stdin_closed().unwrap().to_vec(),
        "credit" => session.stdin_taken(0).unwrap().to_vec(),
        "exited" => session.send_exited(&exit(value)).unwrap().to_vec(),
        "refused" => session.send_refused(&refusal(value)).unwrap().to_vec(),
        "failed" => {
            let frame = value.split(' ').nth(1).unwrap();
            assert_eq!(frame, "RUN");
            session
                .send_failed(&ProtocolError::UnexpectedFrame { frame: "RUN" })
                .to_vec()
        }
        _ => panic!("unknown word: {word}"),
    }
}

#[test]
fn a_client_understands_each_server_wherever_it_is_cut() {
    let vectors = Vector::of("Ss");
    for vector in &vectors {
        let mut credit = 16_384;
        let mut expected = Vec::new();
        let mut end = None;
        for (word, value) in vector.others() {
            expected.push(match word {
                "started" => ClientEvent::Started {
                    pid: value.parse().unwrap(),
                },
                "stdout" | "stderr" => ClientEvent::Data {
                    stream: stream(word),
                    data: bytes(value).into(),
                },
                "stdout-end" => ClientEvent::End(Stream::Stdout),
                "stderr-end" => ClientEvent::End(Stream::Stderr),
                "stdin-closed" => {
                    credit = 0;
                    ClientEvent::StdinClosed
                }
                "credit" => {
                    credit += value.parse::<usize>().unwrap();
                    continue;
                }
                "exited" => ClientEvent::Exited(exit(value)),
                "refused" => ClientEvent::Refused(refusal(value)),
                "failed" => ClientEvent::Failed {
                    message: value.to_owned(),
                },
                "bad" => {
                    end = Some(value);
                    continue;
                }
                _ => panic!("unknown word: {word}"),
            });
        }
        for pieces in vector.cuts() {
            let heard = hear_server(pieces, &everything_in_frames());
            assert_eq!(heard.events, expected, "{}", vector.name);
            assert_eq!(how_bad(&heard), end, "{}", vector.name);
            if end.is_none() {
                assert_eq!(heard.credit, credit, "{}", vector.name);
            }
        }
    }
    assert!(vectors.len() >= 40, "{}", vectors.len());
}

fn how_bad(heard: &Heard<ClientEvent>) -> Option<&'static str> {
    heard.error.as_ref().map(|error| match error {
        ProtocolError::Truncated => "truncated",
        ProtocolError::Version { .. } => "version",
        error => {
            assert!(!error.is_local());
            "reply"
        }
    })
}
