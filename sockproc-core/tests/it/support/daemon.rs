//! A server that has put itself into the background.

use std::process::{Command, Output, Stdio};
use std::rc::Rc;
use std::sync::mpsc;

use rustix::process::{Pid, Signal, kill_process};

use super::procfs::session_of;
use super::{Connection, DEADLINE, Reply, Setup, descendants, poll_until, request};

/// Runs a command to its end and captures its output; fails where either does not end.
#[track_caller]
pub(crate) fn finish(mut command: Command) -> Output {
    let (sender, receiver) = mpsc::channel();
    command.stdin(Stdio::null());
    std::thread::spawn(move || sender.send(command.output()));
    receiver
        .recv_timeout(DEADLINE)
        .expect("its end and the end of its output")
        .unwrap()
}

/// A daemon with its pidfile at `pid` in the setup's directory; it ends with this value.
pub(crate) struct Daemon {
    pub(crate) setup: Rc<Setup>,
    pub(crate) pid: u32,
}

impl Setup {
    /// Runs the launcher from a capturing shell, as daemons are started.
    #[track_caller]
    pub(crate) fn launch(self) -> Daemon {
        let pidfile = self.dir.path().join("pid");
        let setup = self.args([&pidfile]);
        let launcher = finish(setup.command());
        assert!(launcher.status.success(), "{launcher:?}");
        assert!(
            launcher.stdout.is_empty() && launcher.stderr.is_empty(),
            "{launcher:?}"
        );
        let first = setup.address.connect();
        assert!(
            first.is_ok(),
            "the launcher has returned, and nobody listens: {first:?}"
        );
        Daemon::of(Rc::new(setup), None)
    }
}

impl Daemon {
    /// The daemon that the pidfile names, once it names another one than `old`.
    #[track_caller]
    pub(crate) fn of(setup: Rc<Setup>, old: Option<u32>) -> Daemon {
        let pidfile = setup.dir.path().join("pid");
        let mut pid = None;
        poll_until(|| {
            pid = std::fs::read_to_string(&pidfile)
                .ok()
                .and_then(|text| text.parse().ok());
            pid.is_some() && pid != old
        });
        Daemon {
            setup,
            pid: pid.unwrap(),
        }
    }

    /// The daemon that has since been started in this one's place.
    #[track_caller]
    pub(crate) fn successor(&self) -> Daemon {
        Daemon::of(Rc::clone(&self.setup), Some(self.pid))
    }

    #[track_caller]
    pub(crate) fn send(&self, bytes: impl AsRef<[u8]>) -> Connection {
        let mut connection = self.setup.address.connect().expect("connect");
        connection.send(bytes);
        connection
    }

    /// A command that runs already and echoes the `count` bytes it will be sent.
    #[track_caller]
    pub(crate) fn start_echo(&self, count: usize) -> Connection {
        let started = self.setup.dir.path().join("started");
        let connection = self.send(format!("echo > {}; cat\r\n{count}\r\n", started.display()));
        poll_until(|| started.exists());
        std::fs::remove_file(started).unwrap();
        connection
    }

    #[track_caller]
    pub(crate) fn run(&self, command: &str) -> Reply {
        self.send(request(command, "")).read_last_reply()
    }

    pub(crate) fn is_alive(&self) -> bool {
        is_alive(self.pid)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        send_signal(self.pid, signal);
    }

    /// How many processes share the daemon's session.
    pub(crate) fn session_size(&self) -> usize {
        let session = session_of(self.pid);
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|&pid| session_of(pid) == session).count()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.is_alive() {
            for pid in descendants(self.pid).into_iter().chain([self.pid]) {
                send_signal(pid, Signal::KILL);
            }
        }
    }
}

/// A process that ends with this value, also if the test fails.
pub(crate) struct Doomed(pub(crate) u32);

impl Drop for Doomed {
    fn drop(&mut self) {
        send_signal(self.0, Signal::KILL);
    }
}

/// Whether any of its threads is left: a killed server holds its sockets until the last one has ended. A zombie
/// is dead: its parent may be late to reap it.
pub(crate) fn is_alive(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task"));
    let mut states = threads.into_iter().flatten().flatten().map(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).ok()?;
        stat.rsplit_once(") ")?.1.chars().next()
    });
    states.any(|state| !matches!(state, None | Some('Z' | 'X')))
}

pub(crate) fn send_signal(pid: u32, signal: Signal) {
    let _ = kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal);
}
