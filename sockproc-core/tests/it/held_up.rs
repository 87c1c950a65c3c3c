//! One command, one client or the reader of the log cannot delay the others.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::num::NonZero;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::ptrace;
use nix::unistd::Pid;
use rustix::fs::OFlags;
use rustix::process::Signal;

use crate::support::{
    Connection, Reply, TestServer, Transport, on_both_transports, poll_until, state_of,
};

on_both_transports!(
    commands_whose_tracer_does_not_wait_delay_no_other,
    a_log_whose_reader_has_gone_delays_no_run,
    an_unread_log_delays_no_run,
    a_client_silent_for_3_s_before_a_large_answer_gets_all_of_it,
);

const MIB: usize = 1 << 20;

fn commands_whose_tracer_does_not_wait_delay_no_other(on: Transport) {
    let server = on.server();
    let (mut traced, tracer) = exited_under_a_tracer(&server);
    for _ in 0..20 {
        assert_eq!(server.run("echo hi"), Reply::new(0, "hi\n", ""));
    }
    // The tracer gets a wait status first, and the server after that.
    for connection in &traced {
        assert!(connection.is_silent_for(Duration::ZERO));
    }
    drop(tracer);
    for connection in &mut traced {
        assert_eq!(connection.read_last_reply(), Reply::new(0, "x", ""));
    }
}

#[test]
fn commands_whose_tracer_does_not_wait_do_not_keep_a_server_from_its_end() {
    let mut server = Transport::Unix
        .setup()
        .serve(["--drain-timeout", "0"])
        .start();
    let (_traced, _tracer) = exited_under_a_tracer(&server);
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
}

fn a_log_whose_reader_has_gone_delays_no_run(on: Transport) {
    for server in both_command_lines(on, "mkfifo p && exec 3<>p 2>p 3<&-") {
        answers_and_ends(server);
    }
}

fn an_unread_log_delays_no_run(on: Transport) {
    let fill = "mkfifo p && exec 2<>p && dd if=/dev/zero of=p bs=4096 oflag=nonblock 2>/dev/null";
    for server in both_command_lines(on, fill) {
        let mut pipe = OpenOptions::new()
            .write(true)
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
            .open(server.path("p"))
            .unwrap();
        let full = pipe.write(b"x").unwrap_err();
        assert_eq!(full.kind(), ErrorKind::WouldBlock);
        answers_and_ends(server);
    }
}

/// The client has announced far more than any buffer takes, and reads only when it has sent all.
fn a_client_silent_for_3_s_before_a_large_answer_gets_all_of_it(on: Transport) {
    let server = on.server();
    let announced = 50 * MIB;
    let command = "head -c 20000000 /dev/zero; echo > done; exit 3";
    let mut client = server.send(format!("{command}\r\n{announced}\r\nx"));
    server.wait_for("done");
    // Its silence is what is tested.
    thread::sleep(Duration::from_secs(3));
    client.send(vec![b'x'; announced - 1]);
    assert_eq!(
        client.read_last_reply(),
        Reply::new(3 << 8, vec![0; 20_000_000], "")
    );
}

/// Commands that have written an `x` and exited, more than the server has threads for, and their tracer.
fn exited_under_a_tracer(server: &TestServer) -> (Vec<Connection>, Tracer) {
    let count = thread::available_parallelism().map_or(2, NonZero::get) + 1;
    let mut connections: Vec<_> = (0..count)
        .map(|number| server.send(format!("echo $$ > pid{number}; exec cat\r\n1\r\n")))
        .collect();
    let pids: Vec<u32> = (0..count)
        .map(|number| server.wait_for(&format!("pid{number}")))
        .map(|line| line.trim().parse().unwrap())
        .collect();
    let tracer = Tracer::of(pids.clone());
    for connection in &mut connections {
        connection.send("x");
    }
    poll_until(|| pids.iter().all(|&pid| state_of(pid) == Some('Z')));
    (connections, tracer)
}

/// A thread that has seized processes and never waits for them; it lets go of them with this value.
struct Tracer {
    tell: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Tracer {
    fn of(pids: Vec<u32>) -> Tracer {
        let (tell, told) = channel();
        let (seized, wait) = channel();
        let thread = thread::spawn(move || {
            for pid in pids {
                ptrace::seize(Pid::from_raw(pid.cast_signed()), ptrace::Options::empty()).unwrap();
            }
            seized.send(()).unwrap();
            let _: Result<(), _> = told.recv();
        });
        wait.recv().expect("the right to trace");
        Tracer {
            tell: Some(tell),
            thread: Some(thread),
        }
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        drop(self.tell.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// A server of each kind that logs much, started after this line of shell.
fn both_command_lines(on: Transport, shell: &str) -> [TestServer; 2] {
    let setup = || on.setup().shell(shell).shell("export SOCKPROC_LOG=debug");
    [setup().start(), setup().serve::<&str>([]).start()]
}

/// Commands, refusals, more lines than any log keeps, and a normal end.
#[track_caller]
fn answers_and_ends(mut server: TestServer) {
    let mut running = server.send("echo > started; cat; echo err >&2\r\n1\r\n");
    server.wait_for("started");
    for _ in 0..1100 {
        Reply::parse(&server.exchange("\0")).assert_refused(64 << 8);
    }
    assert_eq!(
        server.run_with("cat; exit 3", "in"),
        Reply::new(3 << 8, "in", "")
    );
    running.send("x");
    assert_eq!(running.read_last_reply(), Reply::new(0, "x", "err\n"));
    drop(running);
    server.signal(Signal::TERM);
    let status = server.wait();
    assert!(
        status.code() == Some(0) || status.signal() == Some(Signal::TERM.as_raw()),
        "{status:?}"
    );
}
