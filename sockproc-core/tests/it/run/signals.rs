//! Signals that come to `sockproc run`.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::sockproc;
use crate::support::{
    Doomed, TestServer, Transport, is_alive, on_both_transports, poll_until, send_signal,
};

on_both_transports!(
    signals_are_passed_on_to_the_commands_group,
    a_second_interrupt_ends_a_command_that_ignores_the_first,
    a_signal_is_passed_on_while_no_one_reads_the_output,
);

/// A run on this server, once its command has said that it is ready.
#[track_caller]
fn ready(server: &TestServer, line: &str) -> (Child, impl BufRead + use<>) {
    let mut run = sockproc(&["run", "--server"])
        .arg(server.address.full())
        .args(["--", line])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(run.stdout.take().unwrap());
    let mut said = String::new();
    stdout.read_line(&mut said).unwrap();
    assert_eq!(said, "ready\n");
    (run, stdout)
}

fn signals_are_passed_on_to_the_commands_group(on: Transport) {
    let server = on.server();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT] {
        let number = signal.as_raw();
        // The inner shell is not the leader: the signal goes to both.
        let line = format!(
            "trap : {number}; sh -c \"trap 'echo inner; exit' {number}; echo ready; \
             while :; do sleep 0.01; done\"; echo outer; exit 7"
        );
        let (mut run, mut stdout) = ready(&server, &line);
        send_signal(run.id(), signal);
        let mut said = String::new();
        stdout.read_to_string(&mut said).unwrap();
        assert_eq!(said, "inner\nouter\n", "signal {number}");
        assert_eq!(run.wait().unwrap().code(), Some(7), "signal {number}");
    }
}

fn a_second_interrupt_ends_a_command_that_ignores_the_first(on: Transport) {
    let server = on.server();
    let line = "trap \"\" INT; echo ready; exec sleep 1000";
    let (mut run, _stdout) = ready(&server, line);
    // On a busy machine the second can come too late for the first.
    poll_until(|| {
        for _ in 0..2 {
            send_signal(run.id(), Signal::INT);
            std::thread::sleep(Duration::from_millis(50));
        }
        let until = Instant::now() + Duration::from_secs(4);
        while run.try_wait().unwrap().is_none() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        run.try_wait().unwrap().is_some()
    });
    assert_eq!(run.wait().unwrap().code(), Some(130));
}

fn a_signal_is_passed_on_while_no_one_reads_the_output(on: Transport) {
    let server = on.server();
    let marker = server.path("marker");
    let line = format!(
        "trap \"echo got > {}; exit\" TERM; echo ready; yes & wait",
        marker.display()
    );
    let (mut run, stdout) = ready(&server, &line);
    // Until nothing moves any more.
    std::thread::sleep(Duration::from_millis(300));
    send_signal(run.id(), Signal::TERM);
    poll_until(|| marker.exists());
    drop(stdout);
    run.wait().unwrap();
}

/// A server that says it is native and starts nothing.
fn busy_server(listener: UnixListener, stop: impl FnOnce(&mut UnixStream) + Send + 'static) {
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut opening = [0; 16];
        client
            .read_exact(&mut opening[..b"#sockproc/2\r\n0\r\n".len()])
            .unwrap();
        client.write_all(b"#sockproc/2\r\n").unwrap();
        let mut header = [0; 5];
        client.read_exact(&mut header).unwrap();
        assert_eq!(header[0], 1, "RUN");
        let len = u32::from_be_bytes(header[1..].try_into().unwrap());
        client.read_exact(&mut vec![0; len as usize]).unwrap();
        stop(&mut client);
    });
}

#[test]
fn a_signal_before_the_start_cancels_the_request() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.sock");
    let (tell, told) = std::sync::mpsc::channel();
    busy_server(UnixListener::bind(&path).unwrap(), move |client| {
        tell.send(()).unwrap();
        let mut signal = [0; 5 + b"number=15\0to=group\0".len()];
        client.read_exact(&mut signal).unwrap();
        assert_eq!(&signal[5..], b"number=15\0to=group\0");
        let mut frame = [0; 5];
        client.read_exact(&mut frame).unwrap();
        assert_eq!(frame, [5, 0, 0, 0, 0], "CANCEL");
        client
            .write_all(b"\x19\0\0\0\x1fkind=cancelled\0message=no more\0")
            .unwrap();
        let _ = client.read(&mut frame);
    });
    let mut run = sockproc(&["run", "--server"])
        .arg(&path)
        .args(["--", "true"])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    told.recv().unwrap();
    send_signal(run.id(), Signal::TERM);
    assert_eq!(run.wait().unwrap().signal(), Some(Signal::TERM.as_raw()));
}

#[test]
fn sigterm_to_run_ends_the_command_that_it_serves_itself() {
    ends_with_its_command(Signal::TERM);
}

#[test]
fn sigint_to_run_ends_the_command_that_it_serves_itself() {
    ends_with_its_command(Signal::INT);
}

/// A terminal that is closed sends it.
#[test]
fn sighup_to_run_ends_the_command_that_it_serves_itself() {
    ends_with_its_command(Signal::HUP);
}

/// A terminal sends it too.
#[test]
fn sigquit_to_run_ends_the_command_that_it_serves_itself() {
    ends_with_its_command(Signal::QUIT);
}

fn ends_with_its_command(signal: Signal) {
    for _ in 0..10 {
        let dir = tempfile::tempdir().unwrap();
        let line = "echo $$ > pid; exec sleep 1000";
        let mut process = sockproc(&["run", "--", line])
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let pid = || fs::read_to_string(dir.path().join("pid")).unwrap_or_default();
        poll_until(|| pid().ends_with('\n'));
        let command = Doomed(pid().trim().parse().unwrap());
        send_signal(process.id(), signal);
        let status = process.wait().unwrap();
        let by_signal = status.signal() == Some(signal.as_raw());
        assert!(
            by_signal || status.code() == Some(128 + signal.as_raw()),
            "{status:?}"
        );
        poll_until(|| !is_alive(command.0));
    }
}
