//! Programs that are no sockproc server, and servers that die at the wrong moment.

use std::io;

use sockproc_core::connection::{Collected, Connection, Forgotten};
use sockproc_core::proto::Stream;
use sockproc_core::{Error, proto::ExitStatus};

use super::stub::{Stub, answer};
use super::support::{DEADLINE, Driver, Transport, everywhere};

/// What a run makes of a server that reads its request, sends `bytes` and closes.
fn answered_by(transport: Transport, driver: Driver, bytes: Vec<u8>) -> Result<ExitStatus, Error> {
    let stub = Stub::new(transport, move |mut peer| {
        peer.read_request();
        peer.send(bytes);
        peer.end();
    });
    let result = driver.run(&stub.address, "true", "");
    stub.join();
    result.map(|output| output.status)
}

#[test]
fn garbage_is_told_from_an_answer() {
    for (transport, driver) in everywhere() {
        for garbage in [
            "HTTP/1.1 400 Bad Request\r\n\r\n".to_owned(),
            "status:ok\r\n".to_owned(),
            "status:0\r\n-1\r\n".to_owned(),
            "status:0\r\n18446744073709551616\r\n".to_owned(),
            "\0".to_owned(),
            "status:".to_owned() + &"0".repeat(100_000),
        ] {
            let error = answered_by(transport, driver, garbage.into()).unwrap_err();
            assert!(matches!(error, Error::Protocol(_)), "{error:?}");
            assert!(error.may_have_run());
            assert!(
                error.to_string().contains("not a sockproc server"),
                "{error}"
            );
        }
    }
}

#[test]
fn an_answer_cut_at_any_byte_is_never_a_result() {
    let whole = answer(0, b"out\n", b"err\n");
    for (transport, driver) in everywhere() {
        for len in 0..whole.len() {
            let error = answered_by(transport, driver, whole[..len].to_vec()).unwrap_err();
            let Error::Disconnected { sent: true, source } = error else {
                panic!("{len} bytes: {error:?}");
            };
            assert_eq!(source.kind(), io::ErrorKind::UnexpectedEof);
        }
        let status = answered_by(transport, driver, whole.clone()).unwrap();
        assert!(status.success());
    }
}

#[test]
fn a_reset_is_never_a_result() {
    for driver in Driver::BOTH {
        let stub = Stub::new(Transport::Tcp, |mut peer| {
            peer.read_request();
            peer.send("status:0\r\n0\r\n");
            peer.reset();
        });
        let error = driver.run(&stub.address, "true", "").unwrap_err();
        assert!(
            matches!(error, Error::Disconnected { sent: true, .. }),
            "{error:?}"
        );
        assert!(error.may_have_run());
    }
}

#[test]
fn a_connection_closed_at_once_is_never_a_result() {
    for (transport, driver) in everywhere() {
        let stub = Stub::new(transport, drop);
        let error = driver.run(&stub.address, "true", "").unwrap_err();
        assert!(matches!(error, Error::Disconnected { .. }), "{error:?}");
    }
}

#[test]
fn an_answer_that_comes_byte_by_byte_is_the_same() {
    for (transport, driver) in everywhere() {
        let stub = Stub::new(transport, |mut peer| {
            peer.read_request();
            for byte in answer(256, b"some output", b"some error") {
                peer.send([byte]);
                std::thread::yield_now();
            }
            peer.end();
        });
        let output = driver.run(&stub.address, "true", "").unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(output.stdout, b"some output");
        assert_eq!(output.stderr, b"some error");
    }
}

#[test]
fn a_length_that_no_machine_holds_is_an_error_not_an_abort() {
    for len in [1_u64 << 63, u64::MAX] {
        for (transport, driver) in everywhere() {
            let bytes = format!("status:0\r\n{len}\r\nxyz").into_bytes();
            let error = answered_by(transport, driver, bytes).unwrap_err();
            let Error::NoRoom {
                stream: Stream::Stdout,
                len: told,
                ..
            } = error
            else {
                panic!("{error:?}");
            };
            assert_eq!(told, len);
        }
    }
}

#[test]
fn output_past_the_limit_is_refused_when_it_is_announced() {
    for (transport, driver) in everywhere() {
        for (out, err, stream) in [
            (11_u64, "", Stream::Stdout),
            (u64::MAX, "", Stream::Stdout),
            (5, "01234", Stream::Stderr),
        ] {
            let stub = Stub::new(transport, move |mut peer| {
                peer.read_request();
                let second = if err.is_empty() { "" } else { "6\r\n" };
                peer.send(format!("status:0\r\n{out}\r\n{err}{second}"));
                // The client goes without waiting for the bytes.
                peer.read_to_end().0
            });
            let run: Connection = Connection::new(stub.address.clone(), "yes", "").unwrap();
            let error = driver.drive(run.max_output(10), DEADLINE).unwrap_err();
            let Error::OutputTooLarge {
                stream: told,
                limit: 10,
                ..
            } = error
            else {
                panic!("{error:?}");
            };
            assert_eq!(told, stream);
            assert!(error.may_have_run());
            assert!(stub.join().is_empty());
        }
    }
}

#[test]
fn output_of_exactly_the_limit_is_taken() {
    for driver in Driver::BOTH {
        let stub = Stub::new(Transport::Unix, |mut peer| {
            peer.read_request();
            peer.send(answer(0, b"12345", b"67890"));
        });
        let run: Connection = Connection::new(stub.address.clone(), "x", "").unwrap();
        let output = driver.drive(run.max_output(10), DEADLINE).unwrap();
        assert_eq!((output.stdout.len(), output.stderr.len()), (5, 5));
    }
}

#[test]
fn unwanted_output_is_read_and_dropped() {
    for driver in Driver::BOTH {
        let stub = Stub::new(Transport::Unix, |mut peer| {
            peer.read_request();
            peer.send(answer(512, &vec![b'x'; 3 << 20], &vec![b'y'; 3 << 20]));
        });
        let run: Connection<Collected<Forgotten>> =
            Connection::new(stub.address.clone(), "x", "").unwrap();
        assert_eq!(driver.drive(run, DEADLINE).unwrap().status.code(), Some(2));
    }
}
