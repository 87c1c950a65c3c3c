//! Where output goes: events as they come, and bytes for a host that has a session of its own.

use std::io::ErrorKind;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use sockproc_core::blocking::Command;
use sockproc_core::connection::wait;
use sockproc_core::connection::{BlockingSocket, Connection, Deadline, Events, Interest, Progress};
use sockproc_core::proto::{ClientEvent, Stream};
use sockproc_core::{Address, Error, Stdin};

use super::stub::{Stub, answer};
use super::support::{DEADLINE, Server, Transport};

/// All that came, in its order.
fn events(mut run: Connection<Events>) -> (Vec<ClientEvent>, Option<u8>) {
    let mut seen = Vec::new();
    let mut ready = Interest::NONE;
    loop {
        let progress = run.on_ready(ready).unwrap();
        seen.extend(std::iter::from_fn(|| run.receiver_mut().next_event()));
        if let Progress::Done(exit) = progress {
            return (seen, exit.status.code());
        }
        ready = wait(&run, run.interest(), Deadline::after(Some(DEADLINE))).unwrap();
        assert_ne!(ready, Interest::NONE);
    }
}

#[test]
fn events_are_told_in_the_order_in_which_they_came() {
    let long = vec![b'x'; 200_000];
    for transport in Transport::BOTH {
        let stdout = long.clone();
        let stub = Stub::new(transport, move |mut peer| {
            peer.read_request();
            peer.send(answer(256, &stdout, b"err"));
            peer.end();
        });
        let run = Connection::new(stub.address.clone(), "x", "").unwrap();
        let (seen, code) = events(run);
        let (mut out, mut err, mut announced) = (Vec::new(), Vec::new(), Vec::new());
        for event in seen {
            match event {
                ClientEvent::Announced { stream, len } => announced.push((stream, len)),
                ClientEvent::Data { stream, data } => match stream {
                    Stream::Stdout if err.is_empty() => out.extend(data),
                    Stream::Stdout => panic!("stdout after stderr"),
                    Stream::Stderr => err.extend(data),
                },
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((out.len(), &err[..]), (long.len(), &b"err"[..]));
        assert_eq!(announced, [(Stream::Stdout, 200_000), (Stream::Stderr, 3)]);
        assert_eq!(code, Some(1));
    }
}

#[test]
fn a_blocking_socket_moves_bytes_and_its_waits_end_in_time() {
    for transport in Transport::BOTH {
        let stub = Stub::new(transport, |mut peer| {
            assert_eq!(peer.read_line(), b"hello");
            peer.send("hi");
            peer.read_to_end()
        });
        let forever = Deadline::after(Some(DEADLINE));
        let mut socket = BlockingSocket::connect(stub.address.clone(), forever, forever).unwrap();
        assert_eq!(socket.send(b"hello\r\n", forever).unwrap(), 7);
        let mut buf = [0; 8];
        let mut len = 0;
        while len < 2 {
            match socket.receive(&mut buf[len..], forever) {
                Ok(more) => len += more,
                Err(error) => assert_eq!(error.kind(), ErrorKind::Interrupted),
            }
        }
        assert_eq!(&buf[..len], b"hi");
        let soon = Deadline::after(Some(Duration::from_millis(20)));
        let error = loop {
            match socket.receive(&mut buf, soon).unwrap_err() {
                error if error.kind() == ErrorKind::Interrupted => {}
                error => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        socket.abort();
        let (left, end) = stub.join();
        assert_eq!((left, end.is_err()), (vec![], transport == Transport::Tcp));
    }
}

#[test]
fn a_backlog_that_stays_full_is_an_error_of_its_own_once_patience_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let address = Address::unix(path).unwrap();
    let forever = Deadline::after(Some(DEADLINE));
    let mut waiting = Vec::new();
    let error = loop {
        let patience = Deadline::after(Some(Duration::from_millis(20)));
        match BlockingSocket::connect(address.clone(), forever, patience) {
            Ok(socket) => waiting.push(socket),
            Err(error) => break error,
        }
    };
    let Error::Connect { source, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(source.kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_builder_runs_again_and_again_with_the_same_bytes_but_reads_a_reader_once() {
    let server = Server::start(Transport::Unix);
    let mut command = Command::new("cat");
    command.server(server.address.clone()).stdin("again");
    for _ in 0..2 {
        assert_eq!(command.output().unwrap().stdout, b"again");
    }
    command.stdin(Stdin::from_reader(&b"once"[..], 4));
    assert_eq!(command.output().unwrap().stdout, b"once");
    let error = command.output().unwrap_err();
    assert!(
        matches!(error, Error::Stdin { sent: false, .. }),
        "{error:?}"
    );
}
