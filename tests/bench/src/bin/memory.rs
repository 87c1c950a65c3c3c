//! What a server's memory grows by for each connection or run that waits.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::Parser;
use sockproc_bench::crowd::{Crowd, raise_open_files};
use sockproc_bench::load::median;
use sockproc_bench::server::Server;
use sockproc_bench::stage::{Stage, wait_until};
use sockproc_bench::workload::request;

/// Measures how much memory a server holds for each of what it serves.
#[derive(Parser)]
#[command(name = "memory")]
struct Cli {
    /// The server.
    #[arg(long, default_value = "target/release/sockproc")]
    ours: PathBuf,
    /// Connections or runs at one time; a run takes five of the server's descriptors.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Rounds, each with a new server; the table holds their medians.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

/// What the server is made to hold.
#[derive(Clone, Copy)]
enum Held {
    Idle,
    Running,
    StdinPending,
    ReplyUnread,
}

fn main() -> ExitCode {
    match measure(&Cli::parse()) {
        Ok(table) => {
            println!("{table}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("memory: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(cli: &Cli) -> io::Result<String> {
    raise_open_files();
    let (runs, rounds) = (cli.runs, cli.rounds);
    let mut table = format!("At one time: {runs}; medians of rounds: {rounds}.\n\n{HEADING}");
    for held in Held::ALL {
        let kib = (0..rounds).map(|_| held.kib_each(&cli.ours, runs as usize));
        let kib = median(kib.collect::<io::Result<_>>()?).unwrap_or_default();
        table += &format!("\n| {} | {kib:.1} |", held.name());
    }
    Ok(table)
}

impl Held {
    const ALL: [Self; 4] = [
        Self::Idle,
        Self::Running,
        Self::StdinPending,
        Self::ReplyUnread,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle connection",
            Self::Running => "running `sleep`",
            Self::StdinPending => "run with announced stdin pending",
            Self::ReplyUnread => "unread reply of 1 MiB",
        }
    }

    /// What a new server of `program` grows by while it holds `count` of these, divided by `count`.
    fn kib_each(self, program: &Path, count: usize) -> io::Result<f64> {
        let server = Server::serve(program, [""; 0])?;
        warm_up(&server)?;
        let (before, open_before) = (settled_kib(&server)?, open_files(&server)?);
        let stage = Stage::new()?;
        let crowd = Crowd::send(server.socket(), count, &self.bytes(&stage))?;
        let all = match self {
            Self::Idle => wait_until(PATIENCE, || Ok(open_files(&server)? >= open_before + count)),
            Self::Running | Self::StdinPending => stage.wait_for(STARTED, count, PATIENCE),
            Self::ReplyUnread => crowd.wait_for_replies(PATIENCE),
        };
        if !all? {
            return Err(io::Error::other(format!(
                "{}: the server does not hold {count} at one time",
                self.name()
            )));
        }
        Ok((settled_kib(&server)? - before) / count as f64)
    }

    /// What each client sends.
    fn bytes(self, stage: &Stage) -> Vec<u8> {
        // Held as by `sleep`, of which the server sees no more.
        let held = format!("{}; {}", stage.mark(STARTED), stage.held());
        match self {
            Self::Idle => Vec::new(),
            Self::Running => request(&held, b""),
            Self::StdinPending => {
                let mut bytes = request(&held, &[b'x'; ANNOUNCED]);
                bytes.truncate(bytes.len() - ANNOUNCED + 1);
                bytes
            }
            Self::ReplyUnread => request("exec head -c 1048576 /dev/zero", b""),
        }
    }
}

/// What comes once for all runs, threads and the first pages of code, is no cost of one. One run at a time,
/// as memory that many have left behind would serve those that are measured.
fn warm_up(server: &Server) -> io::Result<()> {
    for _ in 0..20 {
        Crowd::send(server.socket(), 1, &request("true", b""))?.read_replies(1, PATIENCE)?;
    }
    Ok(())
}

/// The resident memory in KiB, once it has been the same for a while.
fn settled_kib(server: &Server) -> io::Result<f64> {
    let mut last = None;
    wait_until(PATIENCE, || {
        thread::sleep(Duration::from_millis(200));
        let now = resident_kib(server)?;
        Ok(last.replace(now) == Some(now))
    })?;
    Ok(last.unwrap_or_default())
}

/// VmRSS in /proc/PID/status is the same figure, but the kernel may tell it some hundred KiB late.
fn resident_kib(server: &Server) -> io::Result<f64> {
    let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", server.pid()))?;
    let kib = rollup
        .lines()
        .find_map(|line| line.strip_prefix("Rss:")?.strip_suffix("kB"));
    kib.and_then(|kib| kib.trim().parse().ok())
        .ok_or_else(|| io::Error::other("no Rss in smaps_rollup"))
}

fn open_files(server: &Server) -> io::Result<usize> {
    Ok(fs::read_dir(format!("/proc/{}/fd", server.pid()))?.count())
}

const HEADING: &str = "| each | KiB |\n|---|--:|";

/// Bytes of stdin, of which one comes: more than any buffer that a server may keep for them.
const ANNOUNCED: usize = 1 << 20;

const STARTED: &str = "started";

/// A thousand commands take some seconds to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
