//! Runs whose output comes in frames, on servers that do what a test wants.

use std::time::{Duration, Instant};

use sockproc_core::connection::Connection;
use sockproc_core::proto::native::{ClientSession, ServerSession};
use sockproc_core::proto::opening::GREETING;
use sockproc_core::proto::{
    Argv, EndedBy, Exit, ExitStatus, Invocation, Millis, Moved, Refusal, RefusalKind, Request,
    Stream, StreamMode,
};
use sockproc_core::{Address, Error, Output, Protocol, Stdin};

use super::native_peer::NativePeer;
use super::stub::Stub;
use super::support::{DEADLINE, Driver, Transport, everywhere};

/// A run by `protocol` that takes at most the deadline.
pub(crate) fn run(
    driver: Driver,
    protocol: Protocol,
    stub: &Address,
    request: impl Into<Request>,
    stdin: impl Into<Stdin>,
) -> Result<Output, Error> {
    let run: Connection = Connection::with_protocol(protocol, stub.clone(), request, stdin)?;
    driver.drive(run, DEADLINE)
}

#[test]
fn a_run_moves_stdin_and_output_of_any_size_within_its_credit() {
    let stdin: Vec<u8> = (0..=250).cycle().take(1_000_000).collect();
    for (transport, driver) in everywhere() {
        let stub = Stub::new(transport, |peer| {
            let (mut peer, request) = NativePeer::accept(peer);
            peer.start(7);
            let stdin = peer.read_stdin();
            peer.write(Stream::Stderr, b"err");
            peer.write(Stream::Stdout, &stdin);
            peer.exit_with(3);
            peer.peer.end();
            request
        });
        let argv = Request::argv(Argv::new(["cat", "it's"]).unwrap());
        let output = run(driver, Protocol::Native, &stub.address, argv, stdin.clone()).unwrap();
        assert_eq!(output.status.code(), Some(3));
        assert!(output.stdout == stdin && output.stderr == b"err");
        let request = stub.join();
        let argv = Argv::new(["cat", "it's"]).unwrap();
        assert_eq!(request.invocation, Invocation::Argv(argv));
        assert_eq!(request.stdin, StreamMode::Piped);
    }
}

#[test]
fn a_refusal_is_an_error_with_all_that_the_server_says() {
    for (transport, driver) in everywhere() {
        let stub = Stub::new(transport, |peer| {
            let (mut peer, _) = NativePeer::accept(peer);
            let mut refusal = Refusal::new(RefusalKind::CannotSpawn, "no such program");
            refusal.step = Some("exec".to_owned());
            refusal.errno = Some(2);
            let frame = peer.session.send_refused(&refusal).unwrap();
            peer.peer.send(frame);
            peer.peer.end();
        });
        let error = run(driver, Protocol::Native, &stub.address, "true", "").unwrap_err();
        assert!(!error.may_have_run());
        assert_eq!(error.to_string(), "server refused: no such program");
        let Error::Refused {
            kind, step, errno, ..
        } = error
        else {
            panic!("{error:?}")
        };
        assert_eq!(kind, RefusalKind::CannotSpawn);
        assert_eq!((step.as_deref(), errno), (Some("exec"), Some(2)));
    }
}

/// What a run ends with that the server has ended for `why`.
fn ended(driver: Driver, transport: Transport, why: EndedBy) -> Error {
    let stub = Stub::new(transport, move |peer| {
        let (mut peer, request) = NativePeer::accept(peer);
        peer.start(7);
        peer.write(Stream::Stdout, b"so far");
        let mut exit = Exit::new(ExitStatus::Signal {
            signal: 15,
            core_dumped: false,
        });
        exit.ended_by = Some(why);
        exit.stdout = Moved { bytes: 60, cut: 54 };
        peer.exit(&exit);
        peer.peer.end();
        request
    });
    let mut request = Request::line("yes");
    let ms = Millis::new;
    request.limits.timeout = ms(1500);
    request.limits.idle_timeout = ms(700);
    request.limits.max_output = Some(6);
    let error = run(driver, Protocol::Native, &stub.address, request, "").unwrap_err();
    assert_eq!(stub.join().limits.timeout, ms(1500));
    assert!(error.may_have_run());
    error
}

#[test]
fn a_limit_that_the_server_has_enforced_is_an_error_with_the_output_so_far() {
    for (transport, driver) in everywhere() {
        match ended(driver, transport, EndedBy::Timeout) {
            Error::Timeout {
                timeout, stdout, ..
            } => assert_eq!((timeout.as_millis(), &stdout[..]), (1500, &b"so far"[..])),
            other => panic!("{other:?}"),
        }
        match ended(driver, transport, EndedBy::IdleTimeout) {
            Error::IdleTimeout {
                timeout, stdout, ..
            } => assert_eq!((timeout.as_millis(), &stdout[..]), (700, &b"so far"[..])),
            other => panic!("{other:?}"),
        }
        let error = ended(driver, transport, EndedBy::OutputLimit);
        assert_eq!(
            error.to_string(),
            "stdout of 60 bytes goes past the output limit of 6 bytes"
        );
    }
}

#[test]
fn a_link_that_ends_before_the_exit_is_never_a_result() {
    for (transport, driver) in everywhere() {
        let stub = Stub::new(transport, |peer| {
            let (mut peer, _) = NativePeer::accept(peer);
            peer.start(7);
            peer.write(Stream::Stdout, b"all of it");
            for stream in [Stream::Stdout, Stream::Stderr] {
                let end = peer.session.send_end(stream).unwrap();
                peer.peer.send(end);
            }
            peer.peer.end();
        });
        let error = run(driver, Protocol::Native, &stub.address, "true", "").unwrap_err();
        assert!(
            matches!(error, Error::Disconnected { sent: true, .. }),
            "{error:?}"
        );
        assert!(error.may_have_run());
    }
}

/// All that a server sends in a run: the greeting, the start, both streams, the exit.
fn whole_answer() -> Vec<u8> {
    let mut session = ServerSession::new();
    let run = ClientSession::new().send_run(&Request::line("x"));
    session.receive_data(&run.unwrap());
    assert!(session.next_event().unwrap().is_some());
    let mut bytes = GREETING.to_vec();
    bytes.extend_from_slice(&session.send_started(7).unwrap());
    for stream in [Stream::Stdout, Stream::Stderr] {
        bytes.extend_from_slice(&session.send_data(stream, 4).unwrap());
        bytes.extend_from_slice(b"some");
        bytes.extend_from_slice(&session.send_end(stream).unwrap());
    }
    let exit = Exit::new(ExitStatus::Code(0));
    bytes.extend_from_slice(&session.send_exited(&exit).unwrap());
    bytes
}

#[test]
fn a_server_that_dies_at_any_byte_is_never_a_result_and_has_run_nothing_before_it_was_asked() {
    let answer = whole_answer();
    // A TCP port may be given again. The client may remember that a native server had it, and ask at once.
    let mut greeted: Vec<Address> = Vec::new();
    for (transport, driver) in everywhere() {
        for protocol in [Protocol::Native, Protocol::Auto] {
            for cut in 0..answer.len() {
                let sent = answer[..cut].to_vec();
                let stub = Stub::new(transport, move |mut peer| {
                    peer.read_line();
                    peer.send(sent);
                    peer.end();
                });
                let error = run(driver, protocol, &stub.address, "x", "").unwrap_err();
                assert!(matches!(error, Error::Disconnected { .. }), "{error:?}");
                let is_greeted = cut >= GREETING.len();
                let is_asked = protocol == Protocol::Native || is_greeted;
                if is_asked || !greeted.contains(&stub.address) {
                    assert_eq!(error.may_have_run(), is_asked, "{protocol:?}, {cut} bytes");
                }
                greeted.extend(is_greeted.then(|| stub.address.clone()));
                stub.join();
            }
        }
    }
}

#[test]
fn a_command_that_reads_no_more_has_its_client_send_no_more() {
    for (transport, driver) in everywhere() {
        let stub = Stub::new(transport, |peer| {
            let (mut peer, _) = NativePeer::accept(peer);
            peer.start(7);
            let closed = peer.session.send_stdin_closed().unwrap();
            peer.peer.send(closed);
            peer.exit_with(0);
            peer.peer.end();
        });
        let endless = Stdin::from_reader(std::io::repeat(b'x'), 1 << 40);
        let output = run(driver, Protocol::Native, &stub.address, "true", endless).unwrap();
        assert!(output.status.success());
    }
}

#[test]
fn a_server_that_hangs_past_the_timeout_is_given_up() {
    for driver in Driver::BOTH {
        let stub = Stub::new(Transport::Unix, |mut peer| {
            peer.read_line();
            drop(peer.read_to_end());
        });
        let run: Connection =
            Connection::with_protocol(Protocol::Native, stub.address.clone(), "true", "").unwrap();
        let start = Instant::now();
        let error = driver.drive(run, Duration::from_millis(50)).unwrap_err();
        assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
        assert!(start.elapsed() < DEADLINE);
        stub.join();
    }
}
