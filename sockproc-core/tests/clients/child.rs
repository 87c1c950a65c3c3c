//! Children: commands whose descriptors pass the server by.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use sockproc_core::proto::{ExitStatus, Request, ServerEvent, StreamMode};
use sockproc_core::{Error, Stdio, blocking, client};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::auto::classic;
use super::native_peer::NativePeer;
use super::stub::Stub;
use super::support::{DEADLINE, Transport, runtime};

/// Who serves the run that a test spawns: it has the command's descriptors.
fn command<T: Send + 'static>(
    serve: impl FnOnce(NativePeer, Request) -> T + Send + 'static,
) -> Stub<T> {
    Stub::new(Transport::Unix, move |peer| {
        let (peer, request) = NativePeer::accept(peer);
        serve(peer, request)
    })
}

/// Upper-cases what it reads.
fn shout(mut peer: NativePeer, request: Request) {
    assert_eq!(request.stdin, StreamMode::Descriptor);
    assert_eq!(request.stdout, StreamMode::Descriptor);
    assert_eq!(request.stderr, StreamMode::Null);
    let mut files = peer.descriptors.drain(..).map(File::from);
    let (mut stdin, mut stdout) = (files.next().unwrap(), files.next().unwrap());
    assert!(files.next().is_none());
    drop(files);
    peer.start(4711);
    let mut said = Vec::new();
    stdin.read_to_end(&mut said).unwrap();
    stdout.write_all(&said.to_ascii_uppercase()).unwrap();
    drop(stdout);
    peer.exit_with(5);
    peer.peer.end();
}

fn blocking_command<T>(stub: &Stub<T>) -> blocking::Command {
    let mut command = blocking::Command::new("shout");
    command
        .server(stub.address.clone())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

#[test]
fn a_child_has_stds_own_pipes_and_its_exit_status() {
    let stub = command(shout);
    let mut child = blocking_command(&stub).spawn().unwrap();
    assert_eq!(child.id(), 4711);
    assert_eq!(child.try_wait().unwrap(), None);
    let mut stdin: std::process::ChildStdin = child.stdin.take().unwrap();
    stdin.write_all(b"hello").unwrap();
    drop(stdin);
    let mut said = String::new();
    let mut stdout: std::process::ChildStdout = child.stdout.take().unwrap();
    stdout.read_to_string(&mut said).unwrap();
    assert_eq!(said, "HELLO");
    for _ in 0..2 {
        assert_eq!(child.wait().unwrap().code(), Some(5));
    }
    assert_eq!(child.try_wait().unwrap(), Some(ExitStatus::Code(5)));
    child.kill().unwrap();
    stub.join();
}

#[tokio::test]
async fn a_child_has_tokios_own_pipes_and_its_exit_status() {
    let stub = command(shout);
    let mut child = client::Command::new("shout")
        .server(stub.address.clone())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .await
        .unwrap();
    assert_eq!(child.id(), 4711);
    let mut stdin: tokio::process::ChildStdin = child.stdin.take().unwrap();
    stdin.write_all(b"hello").await.unwrap();
    drop(stdin);
    let mut said = String::new();
    let mut stdout: tokio::process::ChildStdout = child.stdout.take().unwrap();
    stdout.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "HELLO");
    assert_eq!(child.wait().await.unwrap().code(), Some(5));
    stub.join();
}

#[test]
fn a_dropped_child_is_a_client_that_has_gone() {
    let stub = command(|mut peer, _| {
        peer.start(7);
        assert_eq!(peer.event(), None);
    });
    let child = blocking_command(&stub).spawn().unwrap();
    // A forked process may hold a copy of the connection.
    let (_stdin, _stdout) = (&child.stdin, &child.stdout);
    drop(child);
    stub.join();
}

#[test]
fn signals_and_the_end_of_the_tree_are_asked_for_at_once() {
    let stub = command(|mut peer, _| {
        peer.start(7);
        for number in [10, 9] {
            let Some(ServerEvent::Signal { number: got, .. }) = peer.event() else {
                panic!()
            };
            assert_eq!(got, number);
        }
        assert_eq!(peer.event(), Some(ServerEvent::Cancel));
        peer.exit_with(0);
        peer.peer.end();
    });
    let mut child = blocking_command(&stub).spawn().unwrap();
    child.signal(10).unwrap();
    child.start_kill().unwrap();
    child.cancel().unwrap();
    assert!(child.signal(200).is_err());
    child.wait().unwrap();
    stub.join();
}

/// Exits, and leaves its stdout to who joins the stub.
fn leave_stdout(mut peer: NativePeer, _: Request) -> Vec<OwnedFd> {
    let descriptors: Vec<_> = peer.descriptors.drain(..).collect();
    peer.start(7);
    let mut stdout = File::from(descriptors[1].try_clone().unwrap());
    stdout.write_all(b"last words").unwrap();
    peer.exit_with(0);
    peer.peer.end();
    descriptors
}

#[test]
fn output_that_others_hold_is_read_until_it_is_silent() {
    let stub = command(leave_stdout);
    let child = blocking_command(&stub).spawn().unwrap();
    let start = Instant::now();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.stdout, b"last words");
    assert!(output.status.success());
    assert!(start.elapsed() >= Duration::from_millis(100));
    assert!(start.elapsed() < DEADLINE);
    stub.join();

    let stub = command(leave_stdout);
    let output = runtime().block_on(async {
        let mut command = client::Command::new("x");
        command
            .server(stub.address.clone())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        command.spawn().await.unwrap().wait_with_output().await
    });
    assert_eq!(output.unwrap().stdout, b"last words");
    stub.join();
}

#[test]
fn output_behind_a_lost_link_is_no_success() {
    let stub = command(|mut peer, _| {
        let mut stdout = File::from(peer.descriptors.remove(1));
        peer.start(7);
        stdout.write_all(b"seems whole").unwrap();
        // So the client knows that the command runs.
        assert!(matches!(peer.event(), Some(ServerEvent::Signal { .. })));
    });
    let mut child = blocking_command(&stub).spawn().unwrap();
    child.signal(10).unwrap();
    let error = child.wait_with_output().unwrap_err();
    assert!(
        matches!(error, Error::Disconnected { sent: true, .. }),
        "{error:?}"
    );
    stub.join();
}

#[test]
fn a_file_is_handed_over_as_it_is() {
    let stub = command(|mut peer, request| {
        assert_eq!(request.stdout, StreamMode::Descriptor);
        assert_eq!(request.stderr, StreamMode::Stdout);
        let mut files = peer.descriptors.drain(..).map(File::from);
        let mut stdout = files.next().unwrap();
        drop(files);
        peer.start(7);
        stdout.write_all(b"direct").unwrap();
        peer.exit_with(0);
        peer.peer.end();
    });
    let mut file = tempfile::tempfile().unwrap();
    let status = blocking::Command::new("x")
        .server(stub.address.clone())
        .stdin(Stdio::null())
        .stdout(file.try_clone().unwrap())
        .stderr(Stdio::as_stdout())
        .spawn()
        .unwrap()
        .wait()
        .unwrap();
    assert!(status.success());
    let mut said = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut said).unwrap();
    assert_eq!(said, "direct");
    stub.join();
}

#[test]
fn a_child_needs_a_unix_socket_and_a_native_server() {
    let error = blocking::Command::new("true")
        .server("127.0.0.1:1".parse().unwrap())
        .spawn()
        .unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
    let text = "a TCP connection, which takes no descriptors, cannot carry stdin";
    assert_eq!(error.to_string(), text);

    let stub = Stub::new(Transport::Unix, |peer| drop(classic(peer)));
    let error = blocking_command(&stub).spawn().unwrap_err();
    assert_eq!(error.to_string(), "the classic protocol cannot carry stdin");
    assert!(!error.may_have_run());
    stub.join();
}

#[test]
fn the_clients_copies_of_what_it_hands_over_are_closed_when_the_command_runs() {
    let stub = command(|mut peer, _| {
        peer.start(7);
        // The command lets go of its stdout: nothing but the client's copy could keep it open.
        peer.descriptors.clear();
        assert_eq!(peer.event(), None);
    });
    let mut child = blocking_command(&stub).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut said = Vec::new();
    stdout.read_to_end(&mut said).unwrap();
    assert!(said.is_empty());
    drop(child);
    stub.join();
}
