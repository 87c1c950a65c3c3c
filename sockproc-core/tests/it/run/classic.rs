//! Servers that speak only the classic protocol.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::thread;

use rustix::process::Signal;

use super::{OWN_FAILURE, complained, said, sockproc};
use crate::support::{TestServer, Transport, finish, poll_until, send_signal};

/// An old server: it takes the native opening for a comment of the shell, as the C daemon does.
struct OldServer {
    server: TestServer,
    path: PathBuf,
}

impl OldServer {
    fn start() -> Self {
        let server = Transport::Unix.server();
        let path = server.path("old.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let address = server.path("s.sock");
        thread::spawn(move || {
            for client in listener.incoming() {
                let address = address.clone();
                thread::spawn(move || pass_on(client.unwrap(), &address));
            }
        });
        Self { server, path }
    }

    fn run(&self, options: &[&str], words: &[&str]) -> Output {
        let mut command = sockproc(&["run", "--server"]);
        command.arg(&self.path).args(options);
        command.arg("--").args(words);
        finish(command)
    }
}

fn pass_on(mut client: UnixStream, address: &PathBuf) -> io::Result<()> {
    let mut first = [0; 64 * 1024];
    let len = client.read(&mut first)?;
    if first.starts_with(b"#sockproc/") {
        return client.write_all(b"status:0\r\n0\r\n0\r\n");
    }
    let mut server = UnixStream::connect(address)?;
    server.write_all(&first[..len])?;
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    io::copy(&mut server, &mut client)?;
    client.shutdown(Shutdown::Both)
}

#[test]
fn streams_arguments_and_exit_codes_reach_an_old_server() {
    let old = OldServer::start();
    let output = old.run(&[], &["printf a; printf b >&2; exit 3"]);
    let streams = (&output.stdout[..], &output.stderr[..]);
    assert_eq!(
        (output.status.code(), streams),
        (Some(3), (&b"a"[..], &b"b"[..]))
    );
    assert_eq!(said(&old.run(&[], &["echo", "$HOME"])), "$HOME");
    assert_eq!(old.run(&[], &["kill -9 $$"]).status.code(), Some(137));
    assert_eq!(
        old.run(&[], &["/nonexistent/program"]).status.code(),
        Some(127)
    );
}

#[test]
fn stdin_reaches_an_old_server() {
    let old = OldServer::start();
    let input = old.server.path("input");
    std::fs::write(&input, vec![b'x'; 1_000_000]).unwrap();
    let output = old.run(&["--stdin", input.to_str().unwrap()], &["wc -c"]);
    assert_eq!(said(&output), "1000000");
}

#[test]
fn what_an_old_server_cannot_do_is_named_and_nothing_runs() {
    let old = OldServer::start();
    let marker = old.server.path("marker");
    let line = format!("touch {}", marker.display());
    for (options, name) in [
        (&["-C", "/"][..], "cwd"),
        (&["-e", "A=1"], "env"),
        (&["--idle-timeout", "1"], "idle_timeout"),
        (&["--grace", "1"], "grace"),
        (&["--merge"], "stderr"),
        (&["-d"], "on_disconnect"),
        (&["--protocol", "native"], "native"),
    ] {
        let output = old.run(options, &[&line]);
        assert_eq!(
            output.status.code(),
            Some(OWN_FAILURE),
            "{options:?}: {output:?}"
        );
        assert!(
            complained(&output).contains(name),
            "{options:?}: {output:?}"
        );
    }
    assert!(!marker.exists());
}

#[test]
fn a_timeout_and_an_output_limit_are_kept_by_run_itself() {
    let old = OldServer::start();
    let output = old.run(&["--timeout", "300ms"], &["exec sleep 2"]);
    assert_eq!(output.status.code(), Some(124), "{output:?}");
    let output = old.run(&["--max-output", "10"], &["echo 0123456789"]);
    assert_eq!(output.status.code(), Some(OWN_FAILURE), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
}

#[test]
fn a_signal_ends_run_itself() {
    let old = OldServer::start();
    let line = format!(
        "echo > {}; exec sleep 2",
        old.server.path("started").display()
    );
    let mut run = sockproc(&["run", "--server"])
        .arg(&old.path)
        .args(["--", &line])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    poll_until(|| old.server.path("started").exists());
    send_signal(run.id(), Signal::TERM);
    let status = run.wait().unwrap();
    let signal = status.signal();
    assert_eq!(signal, Some(Signal::TERM.as_raw()));
}
