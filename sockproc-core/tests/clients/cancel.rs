//! Giving a run up: the server sees it, and the caller is told what may have happened.

use std::io;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use sockproc_core::connection::{Connection, Interest, Progress};
use sockproc_core::{Error, Protocol, client};

use super::stub::{Peer, Stub};
use super::support::{DEADLINE, Transport, everywhere, poll_until, runtime};

/// A server that reads the request and never answers, but tells how its client goes.
fn silent(transport: Transport) -> Stub<Gone> {
    Stub::new(transport, |mut peer| {
        peer.read_request();
        wait_for_end(peer)
    })
}

#[derive(Debug, PartialEq)]
struct Gone {
    hung_up: bool,
    reset: bool,
}

fn wait_for_end(mut peer: Peer) -> Gone {
    let (_, end) = peer.read_to_end();
    Gone {
        hung_up: peer.hung_up(),
        reset: end.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset),
    }
}

impl Gone {
    /// No half-close, which would be a request's regular end.
    fn assert_unmistakable(&self, transport: Transport) {
        match transport {
            Transport::Unix => assert!(self.hung_up),
            Transport::Tcp => assert!(self.reset),
        }
    }
}

#[test]
fn a_timeout_says_that_the_command_may_have_run_and_the_server_sees_it() {
    for (transport, driver) in everywhere() {
        let stub = silent(transport);
        let run: Connection = Connection::new(stub.address.clone(), "sleep 1000", "").unwrap();
        let timeout = Duration::from_millis(50);
        let error = driver.drive(run, timeout).unwrap_err();
        assert!(
            matches!(error, Error::Timeout { sent: true, .. }),
            "{error:?}"
        );
        assert!(error.may_have_run());
        stub.join().assert_unmistakable(transport);
    }
}

#[test]
fn dropping_the_future_is_seen_by_the_server() {
    for transport in Transport::BOTH {
        let (sender, receiver) = mpsc::channel();
        let stub = Stub::new(transport, move |mut peer| {
            peer.read_request();
            sender.send(()).unwrap();
            wait_for_end(peer)
        });
        let address = stub.address.clone();
        runtime().block_on(async move {
            let run = client::Command::shell("sleep 1000")
                .server(address)
                .protocol(Protocol::Classic)
                .output();
            let asked = tokio::task::spawn_blocking(move || receiver.recv_timeout(DEADLINE));
            tokio::select! {
                result = run => panic!("an answer: {result:?}"),
                asked = asked => asked.unwrap().unwrap(),
            }
        });
        stub.join().assert_unmistakable(transport);
    }
}

#[test]
fn dropping_a_run_is_seen_even_if_another_process_holds_its_socket() {
    for transport in Transport::BOTH {
        let stub = silent(transport);
        let mut run: Connection = Connection::new(stub.address.clone(), "sleep 1000", "").unwrap();
        send_request(&mut run);
        let _holder = Holder::of(&run);
        drop(run);
        stub.join().assert_unmistakable(transport);
    }
}

#[test]
fn dropping_a_run_inside_its_stdin_is_seen() {
    for transport in Transport::BOTH {
        let stub = Stub::new(transport, |mut peer| {
            peer.read_line();
            wait_for_end(peer)
        });
        let stdin = vec![0; 64 << 20];
        let mut run: Connection = Connection::new(stub.address.clone(), "cat", stdin).unwrap();
        let connecting = matches!(
            run.on_ready(Interest::default()),
            Ok(Progress::Wait | Progress::Yield)
        );
        assert!(connecting);
        send_some(&mut run);
        drop(run);
        stub.join().assert_unmistakable(transport);
    }
}

#[test]
fn after_the_answer_the_connection_is_closed_in_peace() {
    for (transport, driver) in everywhere() {
        let stub = Stub::new(transport, |mut peer| {
            peer.read_request();
            peer.send("status:0\r\n0\r\n0\r\n");
            peer.read_to_end().1.map_err(|error| error.kind())
        });
        driver.run(&stub.address, "true", "in").unwrap();
        assert_eq!(stub.join(), Ok(()));
    }
}

/// Drives a run until all of it was sent.
fn send_request(run: &mut Connection) {
    poll_until(|| {
        let step = run
            .on_ready(Interest {
                readable: false,
                writable: true,
            })
            .unwrap();
        matches!(step, Progress::Wait) && !run.interest().writable
    });
}

fn send_some(run: &mut Connection) {
    poll_until(|| {
        run.on_ready(Interest {
            readable: false,
            writable: true,
        })
        .unwrap();
        run.sent()
    });
}

/// A process that has inherited a run's socket; it ends with this value.
struct Holder(Child);

impl Holder {
    fn of(run: &Connection) -> Self {
        let copy = run.as_fd().try_clone_to_owned().unwrap();
        let mut command = Command::new("sleep");
        let child = command
            .arg("1000")
            .stdin(copy)
            .stdout(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
