//! Much data, both ways, in any order.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::LazyLock;

use bytes::Bytes;
use sockproc_core::connection::Connection;
use sockproc_core::{Error, Output, Stdin};

use super::stub::{Stub, answer};
use super::support::{DEADLINE, Driver, Server, Transport, everywhere};

/// Bytes in which a lost, doubled or moved block shows.
fn numbered(len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 8);
    for number in 0..=len as u64 / 8 {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Much of it, made once.
fn much() -> Bytes {
    static BYTES: LazyLock<Bytes> = LazyLock::new(|| numbered(50 << 20).into());
    BYTES.clone()
}

fn run(
    stub: &sockproc_core::Address,
    driver: Driver,
    command: &str,
    stdin: impl Into<Stdin>,
) -> Result<Output, Error> {
    let run: Connection = Connection::new(stub.clone(), command.to_owned(), stdin)?;
    driver.drive(run, DEADLINE)
}

#[test]
fn fifty_mebibytes_go_both_ways_through_cat() {
    for transport in Transport::BOTH {
        let server = Server::start(transport);
        for driver in Driver::BOTH {
            let output = run(&server.address, driver, "cat", much()).unwrap();
            assert!(output.status.success());
            assert!(output.stdout == much(), "{transport:?}, {driver:?}");
        }
    }
}

#[test]
fn a_server_may_answer_much_before_it_has_read_all_of_much_stdin() {
    for (transport, driver) in everywhere() {
        let stub = Stub::new(transport, |mut peer| {
            peer.read_line();
            // Nothing of stdin is read before the whole answer has been sent.
            peer.send(answer(0, &much(), &much()));
            peer.end();
        });
        let output = run(&stub.address, driver, "yes", much()).unwrap();
        assert!(output.stdout == much() && output.stderr == output.stdout);
        stub.join();
    }
}

#[test]
fn an_answer_counts_although_the_server_closed_before_it_read_stdin() {
    for driver in Driver::BOTH {
        let stub = Stub::new(Transport::Unix, |mut peer| {
            peer.read_line();
            peer.send(answer(19200, b"", b"sockproc: busy\n"));
        });
        let output = run(&stub.address, driver, "cat", much()).unwrap();
        assert_eq!(output.status.code(), Some(75));
        assert_eq!(output.stderr, b"sockproc: busy\n");
    }
}

#[test]
fn stdin_that_the_command_does_not_read_is_no_error() {
    for transport in Transport::BOTH {
        let server = Server::start(transport);
        for driver in Driver::BOTH {
            let output = run(&server.address, driver, "exit 4", much()).unwrap();
            assert_eq!(output.status.code(), Some(4));
        }
    }
}

#[test]
fn both_streams_may_be_long() {
    for transport in Transport::BOTH {
        let server = Server::start(transport);
        let script = "i=0; while [ $i -lt 10 ]; do \
            head -c 1048576 /dev/zero; head -c 1048576 /dev/zero >&2; i=$((i+1)); done";
        for driver in Driver::BOTH {
            let output = run(&server.address, driver, script, "").unwrap();
            assert_eq!(output.stdout.len(), 10 << 20);
            assert_eq!(output.stderr.len(), 10 << 20);
        }
    }
}

/// A server that returns its client's stdin.
fn echo(transport: Transport) -> Stub<()> {
    Stub::new(transport, |mut peer| {
        let (_, stdin) = peer.read_request();
        peer.send(answer(0, &stdin, b""));
        peer.end();
    })
}

#[test]
fn a_file_is_sent_from_its_position_on() {
    let data = numbered(3 << 20);
    for (transport, driver) in everywhere() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&data).unwrap();
        file.seek(SeekFrom::Start(1000)).unwrap();
        let stdin = Stdin::from_file(file).unwrap();
        assert_eq!(stdin.len(), data.len() as u64 - 1000);
        let output = run(&echo(transport).address, driver, "cat", stdin).unwrap();
        assert!(output.stdout == data[1000..]);
    }
}

#[test]
fn a_file_that_tells_no_length_is_sent_whole() {
    let (reader, mut writer) = io::pipe().unwrap();
    let writing = std::thread::spawn(move || writer.write_all(b"through a pipe"));
    let pipe = Stdin::from_file(File::from(std::os::fd::OwnedFd::from(reader))).unwrap();
    writing.join().unwrap().unwrap();
    let proc_file = Stdin::from_file(File::open("/proc/self/stat").unwrap()).unwrap();
    assert!(!proc_file.is_empty());
    let output = run(
        &echo(Transport::Unix).address,
        Driver::Blocking,
        "cat",
        pipe,
    )
    .unwrap();
    assert_eq!(output.stdout, b"through a pipe");
}

#[test]
fn of_a_reader_no_more_is_taken_than_was_said() {
    for driver in Driver::BOTH {
        let stdin = Stdin::from_reader(io::repeat(b'x'), 1_000_000);
        let output = run(&echo(Transport::Unix).address, driver, "cat", stdin).unwrap();
        assert_eq!(output.stdout, vec![b'x'; 1_000_000]);
    }
}

#[test]
fn a_source_that_ends_early_fails_the_run_and_the_server_sees_no_regular_end() {
    for driver in Driver::BOTH {
        let stub = Stub::new(Transport::Tcp, |mut peer| peer.read_to_end().1);
        let short = io::repeat(0).take(100_000);
        let stdin = Stdin::from_reader(short, 100_001);
        let error = run(&stub.address, driver, "cat", stdin).unwrap_err();
        assert!(error.may_have_run());
        let Error::Stdin { sent: true, source } = error else {
            panic!("{error:?}");
        };
        assert_eq!(source.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(source.to_string(), "it ended 1 bytes early");
        let end = stub.join().unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::ConnectionReset);
    }
}

#[test]
fn a_source_that_cannot_be_read_fails_the_run_before_it_begins() {
    for driver in Driver::BOTH {
        let stub = Stub::new(Transport::Unix, |mut peer| peer.read_to_end().0);
        let directory = File::open("/").unwrap();
        let stdin = Stdin::from_reader(directory, 10);
        let error = run(&stub.address, driver, "cat", stdin).unwrap_err();
        assert!(
            matches!(error, Error::Stdin { sent: false, .. }),
            "{error:?}"
        );
        assert!(!error.may_have_run());
        assert!(stub.join().is_empty());
    }
}
