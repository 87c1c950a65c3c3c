//! What only a look inside can show.

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};

use super::*;
use crate::Address;

/// A run whose request was sent, and the server's end of its socket.
fn running(dir: &tempfile::TempDir) -> (Connection, UnixStream) {
    let path = dir.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let mut run = Connection::new(Address::unix(path).unwrap(), "true", "").unwrap();
    assert!(matches!(run.on_ready(Interest::NONE), Ok(Progress::Wait)));
    let (mut peer, _) = listener.accept().unwrap();
    let mut request = [0; 9];
    peer.read_exact(&mut request).unwrap();
    assert_eq!(&request, b"true\r\n0\r\n");
    peer.set_nonblocking(true).unwrap();
    (run, peer)
}

#[test]
fn in_a_forked_child_dropping_a_run_leaves_it_to_the_parent() {
    let dir = tempfile::tempdir().unwrap();
    let (mut run, mut peer) = running(&dir);
    let parents_copy = run.as_fd().try_clone_to_owned().unwrap();
    // A fork has its parent's memory and a pid of its own.
    run.owner += 1;
    drop(run);
    let still_open = peer.read(&mut [0]).unwrap_err();
    assert_eq!(still_open.kind(), io::ErrorKind::WouldBlock);
    drop(parents_copy);
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);
}

#[test]
fn where_the_run_began_dropping_it_hangs_up_on_every_copy() {
    let dir = tempfile::tempdir().unwrap();
    let (run, mut peer) = running(&dir);
    let _copy = run.as_fd().try_clone_to_owned().unwrap();
    drop(run);
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_full_backlog_is_asked_again_ever_later_but_never_after_more_than_50_ms() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let mut waiting = Vec::new();
    let mut run = loop {
        let mut run: Connection =
            Connection::new(Address::unix(path.clone()).unwrap(), "x", "").unwrap();
        match run.on_ready(Interest::NONE).unwrap() {
            Progress::Retry(delay) => {
                assert_eq!(delay, link::FIRST_RETRY);
                break run;
            }
            _ => waiting.push(run),
        }
    };
    let mut delays = Vec::new();
    for _ in 0..8 {
        let Ok(Progress::Retry(delay)) = run.on_ready(Interest::NONE) else {
            panic!("there is room");
        };
        delays.push(delay.as_millis());
    }
    assert_eq!(delays, [2, 4, 8, 16, 32, 50, 50, 50]);
}

/// Whether a request is held back until the server has answered, or sent with the opening.
#[test]
fn a_cancel_before_the_first_answer_is_sent_behind_it() {
    for protocol in [Protocol::Auto, Protocol::Native] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let address = Address::unix(path).unwrap();
        let mut run: Connection = Connection::with_protocol(protocol, address, "true", "").unwrap();
        assert!(matches!(run.on_ready(Interest::NONE), Ok(Progress::Wait)));
        let (mut peer, _) = listener.accept().unwrap();
        peer.set_nonblocking(true).unwrap();
        let mut seen = Vec::new();
        run.cancel().unwrap();
        assert!(matches!(
            run.on_ready(Interest::WRITABLE),
            Ok(Progress::Wait)
        ));
        let _ = peer.read_to_end(&mut seen);
        peer.write_all(b"#sockproc/2\r\n").unwrap();
        assert!(matches!(
            run.on_ready(Interest::READABLE),
            Ok(Progress::Wait)
        ));
        let _ = run.on_ready(Interest::WRITABLE).unwrap();
        let before = seen.len();
        let _ = peer.read_to_end(&mut seen);
        const CANCEL: &[u8] = &[5, 0, 0, 0, 0];
        assert!(seen.ends_with(CANCEL), "{protocol:?}: {seen:?}");
        assert!(seen.len() > before);
        let request = seen.windows(5).position(|bytes| bytes == b"line=").unwrap();
        assert!(request < seen.len() - CANCEL.len());
    }
}
