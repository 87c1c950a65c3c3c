//! Servers and clients that are killed between two frames.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use sockproc_core::blocking::drive;
use sockproc_core::connection::{Collected, Connection as Run, Protocol};
use sockproc_core::proto::opening::{GREETING, OPENING};
use sockproc_core::{Address, Error, Output};

use super::wire::*;
use super::{bystanders::Bystanders, runs};
use crate::support::{
    Connection, DEADLINE, TestServer, Transport, marked, on_both_transports, poll_until,
};

on_both_transports!(
    a_server_that_is_killed_between_two_frames_makes_no_success,
    no_command_with_half_of_its_stdin_completes_when_its_server_is_killed,
    a_client_that_is_killed_between_two_frames_leaves_no_process,
);

/// Opening, greeting, RUN, two of stdin, STARTED, CREDIT, three of stdout, two ends and EXITED.
const FRAMES: usize = 13;

fn a_server_that_is_killed_between_two_frames_makes_no_success(on: Transport) {
    let mut outcomes = HashSet::new();
    for number in 0..runs(30) {
        let last = number % (FRAMES + 1);
        let mut server = on.server();
        let relay = Relay::to(&server, last);
        let mark = format!("killed.{}.{number}", server.pid());
        let line =
            format!("export SOCKPROC_TEST_MARK={mark}; echo > ran; exec sh -c 'cat; echo > whole'");
        let result = ask_through(&relay, [Protocol::Auto, Protocol::Native][number % 2], line);
        let has_killed = *relay.has_killed.lock().unwrap();
        if has_killed {
            server.wait();
            poll_until(|| marked(&mark).is_empty());
        }
        let has_run = server.path("ran").exists();
        outcomes.insert(outcome(&result, has_killed, has_run, last));
    }
    // All that can be told was told.
    assert!(
        outcomes.contains("not run") && outcomes.contains("may have run"),
        "{outcomes:?}"
    );
}

/// Through the real client, which blocks.
fn ask_through(relay: &Relay, protocol: Protocol, line: String) -> Result<Output, Error> {
    let address = Address::unix(&relay.path).unwrap();
    let run = Run::<Collected>::with_protocol(protocol, address, line, "stdin")?;
    drive(run, Some(DEADLINE))
}

/// What a client was told, which must be true.
#[track_caller]
fn outcome(
    result: &Result<Output, Error>,
    has_killed: bool,
    has_run: bool,
    last: usize,
) -> &'static str {
    match result {
        Ok(output) => {
            assert!(!has_killed, "{last}: {output:?}");
            assert_eq!(
                (output.status.code(), &output.stdout[..]),
                (Some(0), &b"stdin"[..])
            );
            "success"
        }
        Err(error) => {
            assert!(has_killed, "{last}: {error}");
            assert!(error.may_have_run() || !has_run, "{last}: {error:?}");
            if error.may_have_run() {
                "may have run"
            } else {
                "not run"
            }
        }
    }
}

/// Hands frames on between one client and a server, and kills the server in place of the frame behind the
/// last one.
struct Relay {
    path: std::path::PathBuf,
    has_killed: Arc<Mutex<bool>>,
}

/// What both directions share.
struct Passage {
    left: Mutex<usize>,
    has_killed: Arc<Mutex<bool>>,
    server: Pid,
}

impl Relay {
    fn to(server: &TestServer, last: usize) -> Relay {
        let path = server.path("relay");
        let listener = UnixListener::bind(&path).unwrap();
        let has_killed = Arc::new(Mutex::new(false));
        let passage = Arc::new(Passage {
            left: Mutex::new(last),
            has_killed: has_killed.clone(),
            server: Pid::from_child(&server.process),
        });
        let theirs = server.connect();
        thread::spawn(move || {
            let (ours, _) = listener.accept().unwrap();
            // A client that comes back finds no one.
            drop(listener);
            passage.hand_on(ours, theirs);
        });
        Relay { path, has_killed }
    }
}

impl Passage {
    fn hand_on(self: Arc<Self>, client: UnixStream, server: Connection) {
        let to_server = Arc::clone(&self);
        let (from_client, mut sink) = (client.try_clone().unwrap(), server.another());
        let requests = thread::spawn(move || {
            let _ = to_server.hand_frames_on(OPENING.len(), from_client, &mut sink);
        });
        let mut sink = client.try_clone().unwrap();
        let _ = self.hand_frames_on(GREETING.len(), server.another(), &mut sink);
        let _ = client.shutdown(std::net::Shutdown::Both);
        let _ = requests.join();
    }

    /// Each frame counts before it is handed on, and so does what precedes the first.
    fn hand_frames_on(
        &self,
        first: usize,
        mut from: impl Read,
        to: &mut impl Write,
    ) -> std::io::Result<()> {
        let mut unit = vec![0; first];
        from.read_exact(&mut unit)?;
        loop {
            self.count()?;
            to.write_all(&unit)?;
            unit = vec![0; 5];
            from.read_exact(&mut unit)?;
            let len = u32::from_be_bytes(unit[1..].try_into().unwrap());
            unit.resize(5 + len as usize, 0);
            from.read_exact(&mut unit[5..])?;
        }
    }

    fn count(&self) -> std::io::Result<()> {
        let mut left = self.left.lock().unwrap();
        match left.checked_sub(1) {
            Some(fewer) => *left = fewer,
            None => {
                // Once: later the number may be another's.
                if !std::mem::replace(&mut *self.has_killed.lock().unwrap(), true) {
                    let _ = kill_process(self.server, Signal::KILL);
                }
                return Err(std::io::ErrorKind::BrokenPipe.into());
            }
        }
        Ok(())
    }
}

/// Some of the commands read at once, others after a while.
fn no_command_with_half_of_its_stdin_completes_when_its_server_is_killed(on: Transport) {
    const RUNS: usize = 40;
    let mut server = on.server();
    let mark = format!("half.{}", server.pid());
    let _clients: Vec<_> = (0..RUNS)
        .map(|number| {
            let pause = ["", "sleep 0.2; "][number % 2];
            let line =
                format!("echo > ready{number}; {pause}cat > t{number} && echo > done{number}");
            let run = format!("line={line}|stdin=frames|env=SOCKPROC_TEST_MARK={mark}|");
            let mut client = server.send(ask(&run));
            client.send(frame(
                STDIN,
                vec![b'x'; 16_384 * (number % 3 / 2) + 4 * (number % 3 % 2)],
            ));
            client
        })
        .collect();
    poll_until(|| (0..RUNS).all(|number| server.path(&format!("ready{number}")).exists()));
    server.signal(Signal::KILL);
    server.wait();
    poll_until(|| marked(&mark).is_empty());
    let done = (0..RUNS).filter(|number| server.path(&format!("done{number}")).exists());
    assert_eq!(done.count(), 0);
}

fn a_client_that_is_killed_between_two_frames_leaves_no_process(on: Transport) {
    let server = on.server();
    let bystanders = Bystanders::of(&server);
    for number in 0..runs(60) {
        let last = number % STEPS;
        let mark = format!("gone.{}.{number}", server.pid());
        let mut client = server.connect();
        for step in 0..last {
            take_step(&mut client, step, &mark, number);
        }
        // The kernel closes what a killed process has open.
        drop(client);
        poll_until(|| marked(&mark).is_empty());
        let (whole, half) = (format!("whole{number}"), format!("ready{number}"));
        assert!(
            last > STDIN_IS_WHOLE || !server.path(&whole).exists(),
            "{last}"
        );
        assert!(
            last > RUN_IS_WHOLE || !server.path(&half).exists(),
            "{last}"
        );
    }
    bystanders.are_untouched();
}

const RUN_IS_WHOLE: usize = 2;
const STDIN_IS_WHOLE: usize = 6;
const STEPS: usize = 11;

/// One frame of an exchange; it is over after [`STEPS`].
#[track_caller]
fn take_step(client: &mut Connection, step: usize, mark: &str, number: usize) {
    match step {
        0 => client.send(OPENING),
        1 => assert_eq!(client.read_exactly(GREETING.len()), GREETING),
        2 => {
            let line = format!(
                "sleep 1000 & echo > ready{number}; echo ready; cat; echo > whole{number}; kill $!; wait"
            );
            let environment = format!("env=SOCKPROC_TEST_MARK={mark}|");
            client.send(records(
                RUN,
                &format!("line={line}|stdin=frames|{environment}"),
            ));
        }
        3 => wait_for(client, &[STARTED]),
        4 => wait_for(client, &[STDOUT]),
        5 => client.send(frame(STDIN, "stdin")),
        6 => client.send(frame(STDIN_END, "")),
        // The streams come in any order.
        7..=9 => wait_for(client, &[STDOUT, STDOUT_END, STDERR_END]),
        _ => wait_for(client, &[EXITED]),
    }
}

/// Skips other frames, but none that ends the run.
#[track_caller]
fn wait_for(client: &mut Connection, kinds: &[u8]) {
    loop {
        let (kind, payload) = client.read_frame();
        if kinds.contains(&kind) {
            return;
        }
        let is_last = [EXITED, REFUSED, ERROR].contains(&kind);
        assert!(!is_last, "{}", payload.escape_ascii());
    }
}
