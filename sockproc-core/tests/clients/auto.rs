//! Which protocol a server speaks, and what comes of it.

use sockproc_core::proto::Request;
use sockproc_core::{Error, Protocol, Stdin};

use super::frames::run;
use super::native_peer::NativePeer;
use super::stub::{Peer, Stub, Stubs, answer};
use super::support::everywhere;

/// What a classic daemon does with one connection: the opening is a comment to it.
pub(crate) fn classic(mut peer: Peer) -> (Vec<u8>, Vec<u8>) {
    let (command, stdin) = peer.read_request();
    match command.starts_with(b"#") {
        true => peer.send(answer(0, b"", b"")),
        false => peer.send(answer(0, &stdin, b"")),
    }
    peer.end();
    (command, stdin)
}

#[test]
fn the_first_run_sends_the_opening_alone_and_later_ones_the_request_with_it() {
    for (transport, driver) in everywhere() {
        let stubs = Stubs::new(transport, 2, |_, peer| {
            let (mut peer, _) = NativePeer::accept(peer);
            peer.start(7);
            peer.exit_with(0);
            let behind = peer.behind_opening;
            peer.peer.end();
            behind
        });
        for _ in 0..2 {
            let output = run(driver, Protocol::Auto, &stubs.address, "true", "").unwrap();
            assert!(output.status.success());
        }
        let behind = stubs.join();
        assert!(behind[0] == 0 && behind[1] > 0, "{behind:?}");
    }
}

#[test]
fn a_classic_server_is_asked_once_and_then_spoken_to_in_classic() {
    for (transport, driver) in everywhere() {
        let stubs = Stubs::new(transport, 3, |_, peer| classic(peer));
        for stdin in ["one", "two"] {
            let reader = Stdin::from_reader(stdin.as_bytes(), 3);
            let output = run(driver, Protocol::Auto, &stubs.address, "cat", reader).unwrap();
            assert_eq!(output.stdout, stdin.as_bytes());
        }
        let seen = stubs.join();
        let commands: Vec<_> = seen.iter().map(|(command, _)| &command[..]).collect();
        assert_eq!(commands, [&b"#sockproc/2"[..], b"cat", b"cat"]);
    }
}

#[test]
fn a_server_that_was_native_and_is_classic_now_is_asked_again_and_runs_the_command_once() {
    for (transport, driver) in everywhere() {
        let stubs = Stubs::new(transport, 4, |number, peer| {
            if number > 0 {
                return classic(peer).0;
            }
            let (mut peer, _) = NativePeer::accept(peer);
            peer.start(7);
            peer.exit_with(0);
            peer.peer.end();
            Vec::new()
        });
        run(driver, Protocol::Auto, &stubs.address, "true", "").unwrap();
        let reader = Stdin::from_reader(&b"whole"[..], 5);
        let output = run(driver, Protocol::Auto, &stubs.address, "cat", reader).unwrap();
        assert_eq!(output.stdout, b"whole");
        let commands = stubs.join();
        // The second connection's opening has a request behind it, which a classic daemon ignores.
        assert_eq!(commands[1..], [&b"#sockproc/2"[..], b"#sockproc/2", b"cat"]);
    }
}

#[test]
fn what_a_classic_server_cannot_be_asked_is_an_error_that_names_it() {
    for (transport, driver) in everywhere() {
        let stub = Stub::new(transport, |peer| classic(peer).0);
        let mut request = Request::line("pwd");
        request.cwd = Some("/".into());
        let error = run(driver, Protocol::Auto, &stub.address, request, "").unwrap_err();
        assert!(
            matches!(error, Error::Unsupported { field: "cwd", .. }),
            "{error:?}"
        );
        assert!(!error.may_have_run());
        assert_eq!(error.to_string(), "the classic protocol cannot carry cwd");
        assert_eq!(stub.join(), b"#sockproc/2");
    }
}

#[test]
fn a_server_that_answers_the_opening_with_nothing_or_something_else_has_run_nothing() {
    for (transport, driver) in everywhere() {
        for reply in ["", "HTTP/1.1 400 Bad Request\r\n", "#sockproc/9\r\n"] {
            let stub = Stub::new(transport, move |mut peer| {
                peer.read_line();
                peer.send(reply);
                peer.end();
            });
            let error = run(driver, Protocol::Auto, &stub.address, "true", "").unwrap_err();
            assert!(!error.may_have_run(), "{reply}: {error:?}");
            match reply {
                "" => assert!(matches!(error, Error::Disconnected { sent: false, .. })),
                _ => assert!(matches!(error, Error::Connect { .. }), "{error:?}"),
            }
            stub.join();
        }
    }
}
