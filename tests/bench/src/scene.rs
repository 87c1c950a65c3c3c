//! What may go on while `echo hi` is asked for: an attack, or as many clients that do nothing wrong.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::crowd::Crowd;
use crate::disk::Disk;
use crate::flood::Flood;
use crate::server::Server;
use crate::stage::{Stage, wait_until};
use crate::workload::request;

/// One kind of attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scene {
    /// Clients that send without end what no command reads; honest ones have a command that reads.
    Flooders,
    /// Clients that read nothing of their replies; honest ones have read them and stay.
    UnreadReplies,
    /// Clients that send one byte of ten; honest ones send all ten. Their commands go on.
    HeldBackStdins,
    /// The same where the server's descriptors are enough for the honest ones, and not for the others.
    HeldBackDescriptors,
    /// Runs that spill to a disk that hangs; honest ones have spilled to the same disk, and go on.
    HungSpillDisk,
}

/// Who is there beside `echo hi`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Clients that attack.
    Attack,
    /// As many clients with the same commands that do not.
    Honest,
}

/// The server under test, and how long to look at it.
pub struct Stand<'a> {
    /// Its program.
    pub program: &'a Path,
    /// Where runs spill in [`Scene::HungSpillDisk`].
    pub disk: Option<&'a Disk>,
    /// How long `echo hi` is asked for, one after another.
    pub window: Duration,
    /// How long an answer may take before it counts as missing.
    pub patience: Duration,
}

impl Scene {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 5] = [
        Self::Flooders,
        Self::UnreadReplies,
        Self::HeldBackStdins,
        Self::HeldBackDescriptors,
        Self::HungSpillDisk,
    ];

    /// How the table calls it.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Flooders => format!("{FLOODERS} flooders"),
            Self::UnreadReplies => format!("{UNREAD} unread replies"),
            Self::HeldBackStdins => format!("{HELD_BACK} held-back stdins"),
            Self::HeldBackDescriptors => {
                format!("{HELD_BACK} held-back stdins, {FEW_FILES} open files")
            }
            Self::HungSpillDisk => format!("{SPILLING} runs on a hung spill disk"),
        }
    }
}

impl Stand<'_> {
    /// Starts a server, brings in one side of `scene`, and returns how long each `echo hi` took; `None`
    /// for an answer that did not come.
    ///
    /// # Errors
    /// The server does not start, or an honest crowd does not get what it asked for.
    pub fn play(&self, scene: Scene, side: Side) -> io::Result<Vec<Option<Duration>>> {
        match scene {
            Scene::Flooders => self.flooders(side),
            Scene::UnreadReplies => self.unread_replies(side),
            Scene::HeldBackStdins => {
                self.held_back_stdins(side, &Server::serve(self.program, NO_OPTIONS)?)
            }
            Scene::HeldBackDescriptors => {
                let server = Server::serve_with_open_files(self.program, FEW_FILES)?;
                self.held_back_stdins(side, &server)
            }
            Scene::HungSpillDisk => self.hung_spill_disk(side),
        }
    }

    fn flooders(&self, side: Side) -> io::Result<Vec<Option<Duration>>> {
        let address = free_address()?;
        let server = Server::serve(self.program, ["--listen", &address.to_string()])?;
        let command = match side {
            Side::Attack => "true",
            Side::Honest => "cat >/dev/null",
        };
        let flood = Flood::start(address, FLOODERS, command);
        let flows = wait_until(side.patience(), || {
            Ok(flood.sent() > (FLOODERS << 20) as u64)
        })?;
        in_place(flows, side)?;
        Ok(self.ask(&server))
    }

    fn unread_replies(&self, side: Side) -> io::Result<Vec<Option<Duration>>> {
        let server = Server::serve(self.program, NO_OPTIONS)?;
        let command = format!("head -c {UNREAD_LEN} /dev/zero");
        let mut crowd = Crowd::send(server.socket(), UNREAD, &request(&command, b""))?;
        in_place(crowd.wait_for_replies(side.patience())?, side)?;
        if side == Side::Honest {
            crowd.read_replies(UNREAD_LEN, side.patience())?;
        }
        Ok(self.ask(&server))
    }

    fn held_back_stdins(&self, side: Side, server: &Server) -> io::Result<Vec<Option<Duration>>> {
        let stage = Stage::new()?;
        let command = format!("{}; {}", stage.mark("started"), stage.held());
        let mut bytes = request(&command, &[b'x'; 10]);
        if side == Side::Attack {
            bytes.truncate(bytes.len() - 9);
        }
        let _crowd = Crowd::send(server.socket(), HELD_BACK, &bytes)?;
        in_place(stage.wait_for("started", HELD_BACK, side.patience())?, side)?;
        Ok(self.ask(server))
    }

    fn hung_spill_disk(&self, side: Side) -> io::Result<Vec<Option<Duration>>> {
        let disk = self.disk.ok_or_else(|| io::Error::other("no disk"))?;
        let server = Server::serve(
            self.program,
            ["--spill-dir".as_ref(), disk.path().as_os_str()],
        )?;
        let stage = Stage::new()?;
        let (started, spilled, held) = (stage.mark("started"), stage.mark("spilled"), stage.held());
        let command = format!("{started}; head -c {SPILLED_LEN} /dev/zero; {spilled}; {held}");
        let frozen = match side {
            Side::Attack => Some(disk.freeze()?),
            Side::Honest => None,
        };
        let crowd = Crowd::send(server.socket(), SPILLING, &request(&command, b""))?;
        let mark = match side {
            Side::Attack => "started",
            Side::Honest => "spilled",
        };
        in_place(stage.wait_for(mark, SPILLING, side.patience())?, side)?;
        let asked = self.ask(&server);
        if frozen.is_some() && stage.wait_for("spilled", SPILLING, Duration::ZERO)? {
            return Err(io::Error::other("the frozen disk did not hang"));
        }
        // Before the server, for whose end we wait.
        drop((frozen, crowd));
        Ok(asked)
    }

    /// Asks for `echo hi`, one after another, after a ramp of a fifth of the window.
    fn ask(&self, server: &Server) -> Vec<Option<Duration>> {
        thread::sleep(self.window / 5);
        let (request, mut client) = (
            request("echo hi", b""),
            Client::with_patience(self.patience),
        );
        let closes = Instant::now() + self.window;
        let mut latencies = Vec::new();
        while latencies.is_empty() || Instant::now() < closes {
            let begin = Instant::now();
            let answer = client.run(server.socket(), &request, 3);
            latencies.push(answer.is_ok().then(|| begin.elapsed()));
            if answer.is_err() {
                // A server that refuses must not be asked as fast as we can.
                thread::sleep(Duration::from_millis(10));
            }
        }
        latencies
    }
}

impl Side {
    /// How long its clients may take until they are where they are to be.
    fn patience(self) -> Duration {
        match self {
            // A server that they stop is measured as it is then.
            Self::Attack => Duration::from_secs(5),
            Self::Honest => Duration::from_secs(30),
        }
    }
}

/// Attackers may keep each other from being served; honest clients that are not served cannot be compared.
fn in_place(in_place: bool, side: Side) -> io::Result<()> {
    match side {
        Side::Honest if !in_place => Err(io::Error::other("the honest clients were not served")),
        _ => Ok(()),
    }
}

/// A port that is free now; the server that is to have it may still find it taken.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

const NO_OPTIONS: [&str; 0] = [];

const FLOODERS: usize = 16;

const UNREAD: usize = 100;

const UNREAD_LEN: u64 = 2_000_000;

const HELD_BACK: usize = 20;

/// Honest runs take 80 of them, the others 100; what a server takes for itself, 16 to 35, decides it.
const FEW_FILES: u32 = 120;

/// More than any pool of threads that blocking work might share.
const SPILLING: usize = 48;

const SPILLED_LEN: usize = 3_000_000;
