//! docs/native_client.py against a server that is nothing but a session.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;

use sockproc_core::proto::native::ServerSession;
use sockproc_core::proto::opening::{FirstBytes, GREETING};
use sockproc_core::proto::{Exit, ExitStatus, Refusal, RefusalKind, ServerEvent, Stream};

/// A server of one run: it writes its argv to stderr and, as it comes, its stdin to stdout.
fn serve(mut socket: UnixStream) {
    let mut session = open(&mut socket);
    let mut chunk = [0; 10_000];
    loop {
        while let Some(event) = session.next_event().unwrap() {
            let frames = answer(&mut session, event);
            socket.write_all(&frames).unwrap();
        }
        match socket.read(&mut chunk).unwrap() {
            0 => return,
            len => session.receive_data(&chunk[..len]),
        }
    }
}

fn open(socket: &mut UnixStream) -> ServerSession {
    let mut first = Vec::new();
    loop {
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        first.extend(byte);
        if let FirstBytes::Native { version: 2, .. } = FirstBytes::of(&first) {
            socket.write_all(GREETING).unwrap();
            return ServerSession::new();
        }
    }
}

fn answer(session: &mut ServerSession, event: ServerEvent) -> Vec<u8> {
    let mut frames = Vec::new();
    match event {
        ServerEvent::Run(request) => {
            let argv = format!("{:?}", request.invocation).into_bytes();
            if argv.windows(8).any(|window| window == b"/nowhere") {
                let refusal = Refusal::new(RefusalKind::CannotSpawn, "/nowhere: not found");
                return session.send_refused(&refusal).unwrap().to_vec();
            }
            frames.extend(session.send_started(7).unwrap());
            frames.extend(session.stdin_taken(0).unwrap());
            session.credit_written();
            frames.extend(session.send_data(Stream::Stderr, argv.len()).unwrap());
            frames.extend(argv);
        }
        ServerEvent::Stdin(data) => {
            frames.extend(session.send_data(Stream::Stdout, data.len()).unwrap());
            frames.extend(&data);
            if let Some(credit) = session.stdin_taken(data.len() as u64) {
                frames.extend(credit);
                session.credit_written();
            }
        }
        ServerEvent::StdinEnd => {
            frames.extend(session.send_end(Stream::Stdout).unwrap());
            frames.extend(session.send_end(Stream::Stderr).unwrap());
            let exit = Exit::new(ExitStatus::Code(3));
            frames.extend(session.send_exited(&exit).unwrap());
        }
        other => panic!("{other:?}"),
    }
    frames
}

fn run(dir: &Path, argv: &[&str], stdin: Vec<u8>) -> Output {
    let path = dir.join("sock");
    let listener = UnixListener::bind(&path).unwrap();
    let server = thread::spawn(move || serve(listener.accept().unwrap().0));
    let example = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/native_client.py");
    let mut client = Command::new("python3")
        .arg(example)
        .arg(path)
        .args(argv)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = client.stdin.take().unwrap();
    let writer = thread::spawn(move || pipe.write_all(&stdin).unwrap());
    let output = client.wait_with_output().unwrap();
    writer.join().unwrap();
    server.join().unwrap();
    output
}

#[test]
fn the_example_client_in_python_moves_more_stdin_than_its_credit() {
    let dir = tempfile::tempdir().unwrap();
    let stdin: Vec<u8> = (0..1_000_000_u32).map(|byte| byte as u8).collect();
    let output = run(dir.path(), &["cat", "a b"], stdin.clone());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr, r#"Argv(Argv([b"cat", b"a b"]))"#);
    assert_eq!(output.status.code(), Some(3));
    assert!(output.stdout == stdin);
}

#[test]
fn the_example_client_in_python_tells_a_refusal() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(dir.path(), &["/nowhere"], b"unread".to_vec());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("NotRun: /nowhere: not found"), "{stderr}");
}

#[test]
fn the_example_client_in_python_has_at_most_80_lines() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/native_client.py");
    let lines = std::fs::read_to_string(path).unwrap().lines().count();
    assert!(lines <= 80, "{lines}");
}
