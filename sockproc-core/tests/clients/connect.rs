//! Getting through to a server, or not.

use std::io;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use sockproc_core::{Address, Error, Protocol, blocking, client};

use super::stub::answer;
use super::support::{DEADLINE, Driver, Server, everywhere, poll_until, runtime};

#[test]
fn without_a_listener_nothing_has_run_and_the_error_names_the_address() {
    let dir = tempfile::tempdir().unwrap();
    let refused = dir.path().join("refused");
    drop(UnixListener::bind(&refused).unwrap());
    for driver in Driver::BOTH {
        for (address, kind) in [
            (dir.path().join("missing"), io::ErrorKind::NotFound),
            (refused.clone(), io::ErrorKind::ConnectionRefused),
        ] {
            let error = driver
                .run(&Address::unix(address.clone()).unwrap(), "true", "")
                .unwrap_err();
            assert!(!error.may_have_run());
            assert_eq!(
                error.to_string(),
                format!("cannot connect to unix:{}", address.display())
            );
            let Error::Connect { source, .. } = error else {
                panic!("{error:?}")
            };
            assert_eq!(source.kind(), kind);
        }
    }
}

#[test]
fn a_port_without_a_listener_is_refused() {
    for driver in Driver::BOTH {
        // A bound socket that does not listen keeps the port from others.
        let socket = net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        net::bind(&socket, &std::net::SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let port = std::net::TcpListener::from(socket.try_clone().unwrap())
            .local_addr()
            .unwrap();
        let error = driver
            .run(&Address::tcp(port.port()).unwrap(), "true", "")
            .unwrap_err();
        assert!(matches!(error, Error::Connect { .. }), "{error:?}");
        assert!(!error.may_have_run());
    }
}

#[test]
fn a_command_that_cannot_be_sent_opens_no_connection() {
    let nowhere = Address::unix("/nonexistent/s").unwrap();
    for driver in Driver::BOTH {
        for command in ["a\r\nb", "a\0b", &"x".repeat(131_072)] {
            let error = driver.run(&nowhere, command, "").unwrap_err();
            assert!(matches!(error, Error::Request(_)), "{error:?}");
            assert!(!error.may_have_run());
        }
    }
}

#[test]
fn every_transport_and_driver_gets_through() {
    for (transport, driver) in everywhere() {
        let server = Server::start(transport);
        let output = driver
            .run(&server.address, "cat; echo err >&2; exit 7", "in")
            .unwrap();
        assert_eq!(output.status.code(), Some(7));
        assert_eq!(output.stdout, b"in");
        assert_eq!(output.stderr, b"err\n");
    }
}

/// A listener whose backlog holds 4 (and so 5: unix(7) counts from 0) connections.
fn small_listener(path: &Path) -> UnixListener {
    let socket = net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    net::bind(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    net::listen(&socket, 4).unwrap();
    socket.into()
}

/// Whether one more connection has no room; if it has, it stays in the backlog until it is accepted.
fn is_full(path: &Path) -> bool {
    let flags = SocketFlags::NONBLOCK;
    let socket = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
    net::connect(&socket, &SocketAddrUnix::new(path).unwrap()) == Err(rustix::io::Errno::AGAIN)
}

/// Answers all who come; who hangs up without a request does not count.
fn answer_all(listener: &UnixListener, count: usize) {
    use std::io::{BufRead, BufReader, Write};
    let mut answered = 0;
    while answered < count {
        let (socket, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(&socket).lines();
        if lines.next().is_some() && lines.next().is_some() {
            (&socket).write_all(&answer(0, b"here", b"")).unwrap();
            answered += 1;
        }
    }
}

#[test]
fn a_full_backlog_delays_calls_and_none_fails() {
    const CALLS: usize = 64;
    for driver in Driver::BOTH {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = small_listener(&path);
        let server = {
            let path = path.clone();
            thread::spawn(move || {
                poll_until(|| is_full(&path));
                answer_all(&listener, CALLS);
            })
        };
        let address = Address::unix(path).unwrap();
        match driver {
            Driver::Blocking => {
                let calls: Vec<_> = (0..CALLS)
                    .map(|_| {
                        let client = blocking::Client::new(address.clone())
                            .protocol(Protocol::Classic)
                            .timeout(DEADLINE);
                        thread::spawn(move || client.run("true", "").unwrap().stdout)
                    })
                    .collect();
                for call in calls {
                    assert_eq!(call.join().unwrap(), b"here");
                }
            }
            Driver::Tokio => runtime().block_on(async {
                let mut calls = tokio::task::JoinSet::new();
                for _ in 0..CALLS {
                    let client = client::Client::new(address.clone())
                        .protocol(Protocol::Classic)
                        .timeout(DEADLINE);
                    calls.spawn(async move { client.run("true", "").await.unwrap().stdout });
                }
                while let Some(stdout) = calls.join_next().await {
                    assert_eq!(stdout.unwrap(), b"here");
                }
            }),
        }
        server.join().unwrap();
    }
}

#[test]
fn a_timeout_before_there_was_a_connection_says_that_nothing_has_run() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let _listener = small_listener(&path);
    poll_until(|| is_full(&path));
    for driver in Driver::BOTH {
        let address = Address::unix(path.clone()).unwrap();
        let run =
            sockproc_core::connection::Connection::<sockproc_core::connection::Collected>::new(
                address, "true", "",
            );
        let error = driver
            .drive(run.unwrap(), Duration::from_millis(100))
            .unwrap_err();
        assert!(
            matches!(error, Error::Timeout { sent: false, .. }),
            "{error:?}"
        );
        assert!(!error.may_have_run());
        assert_eq!(error.to_string(), "no answer within 100ms");
    }
}
