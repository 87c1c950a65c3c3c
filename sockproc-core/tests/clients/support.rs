//! A server to talk to, and the two drivers that talk to it.

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use sockproc_core::connection::{Connection, Receiver};
use sockproc_core::{Address, AddressKind, Error, Output, blocking, client};

/// Much longer than anything here takes, so that only a hang reaches it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Waits until `fact` holds.
#[track_caller]
pub(crate) fn poll_until(mut fact: impl FnMut() -> bool) {
    let start = Instant::now();
    while !fact() {
        assert!(start.elapsed() < DEADLINE, "it has not come true");
        thread::sleep(Duration::from_millis(2));
    }
}

/// The two ways to drive a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Driver {
    Blocking,
    Tokio,
}

impl Driver {
    pub(crate) const BOTH: [Self; 2] = [Self::Blocking, Self::Tokio];

    pub(crate) fn drive<R: Receiver>(
        self,
        run: Connection<R>,
        timeout: Duration,
    ) -> Result<R::Outcome, Error> {
        match self {
            Self::Blocking => blocking::drive(run, Some(timeout)),
            Self::Tokio => runtime().block_on(client::drive(run, Some(timeout))),
        }
    }

    /// Runs `command` with some stdin; no command here takes as long as the deadline.
    pub(crate) fn run(self, server: &Address, command: &str, stdin: &str) -> Result<Output, Error> {
        let stdin = stdin.to_owned();
        let run: Connection = Connection::new(server.clone(), command.to_owned(), stdin)?;
        self.drive(run, DEADLINE)
    }
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Unix,
    Tcp,
}

impl Transport {
    pub(crate) const BOTH: [Self; 2] = [Self::Unix, Self::Tcp];
}

/// Every transport with every driver.
pub(crate) fn everywhere() -> impl Iterator<Item = (Transport, Driver)> {
    let drivers = |transport| Driver::BOTH.map(|driver| (transport, driver));
    Transport::BOTH.into_iter().flat_map(drivers)
}

/// A server of this project, or the one that `$SOCKPROC_TEST_BINARY` names; it ends with this value.
pub(crate) struct Server {
    pub(crate) address: Address,
    process: Child,
    _dir: tempfile::TempDir,
}

impl Server {
    pub(crate) fn start(transport: Transport) -> Self {
        let binary = std::env::var_os("SOCKPROC_TEST_BINARY")
            .unwrap_or_else(|| env!("CARGO_BIN_EXE_sockproc").into());
        let start = Instant::now();
        loop {
            let dir = tempfile::tempdir().unwrap();
            let address = match transport {
                Transport::Unix => Address::unix(dir.path().join("s")).unwrap(),
                Transport::Tcp => Address::tcp(unused_port()).unwrap(),
            };
            let argument = match address.kind() {
                AddressKind::Unix(path) => path.as_os_str().to_owned(),
                AddressKind::Tcp(tcp) => tcp.port().to_string().into(),
            };
            let process = Command::new(&binary)
                .arg(argument)
                .arg("--foreground")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            let mut server = Self {
                address,
                process,
                _dir: dir,
            };
            if server.listens() {
                return server;
            }
            // Another process has taken the port meanwhile.
            assert!(start.elapsed() < DEADLINE, "no server comes up");
        }
    }

    /// Whether it comes up; not, if it has exited.
    fn listens(&mut self) -> bool {
        let mut exited = false;
        poll_until(|| {
            exited = self.process.try_wait().unwrap().is_some();
            exited || Driver::Blocking.run(&self.address, "", "").is_ok()
        });
        !exited
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn unused_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}
