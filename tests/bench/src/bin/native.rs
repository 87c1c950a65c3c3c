//! Holds the native protocol against the classic one, and the ways of many bytes against a bare pipe.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use sockproc_bench::client::Client;
use sockproc_bench::load::{measure, median};
use sockproc_bench::native::Native;
use sockproc_bench::report::{Case, table_of};
use sockproc_bench::server::Server;
use sockproc_bench::workload::{pattern, request, run_locally};

/// Measures both protocols of one server in one interleaved run.
#[derive(Parser)]
#[command(name = "native")]
struct Cli {
    /// The server.
    #[arg(long, default_value = "target/release/sockproc")]
    ours: PathBuf,
    /// Seconds of each measurement of `true`.
    #[arg(long, default_value_t = 1.0, value_parser = seconds)]
    seconds: f64,
    /// Rounds; the tables hold their medians.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// MiB of each stream of many bytes.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    mib: u32,
    /// One round of some ten seconds: shows that all of this works, the figures mean nothing.
    #[arg(long, conflicts_with_all = ["seconds", "rounds", "mib"])]
    smoke: bool,
}

fn main() -> ExitCode {
    let mut cli = Cli::parse();
    if cli.smoke {
        (cli.seconds, cli.rounds, cli.mib) = (0.5, 1, 32);
    }
    match compare(&cli) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failed) => {
            eprintln!("native: {failed} runs failed");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("native: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints both tables and returns the number of failed runs.
fn compare(cli: &Cli) -> io::Result<u64> {
    let server = Server::start(&cli.ours)?;
    let data = pattern((cli.mib as usize) << 20);
    let mut ways = Way::all();
    for way in &ways {
        way.prove(server.socket())?;
    }
    let mut cases = CONCURRENCY.map(|concurrency| Case::new("`true`", concurrency));
    let mut failed = 0;
    for round in 1..=cli.rounds {
        eprintln!("round {round} of {}", cli.rounds);
        for (nth, case) in (round as usize..).zip(&mut cases) {
            let window = Duration::from_secs_f64(cli.seconds);
            failed += play(case, window, server.socket(), nth % 2 == 0);
        }
        for way in &mut ways {
            way.measure(&server, &data)?;
        }
    }
    println!(
        "Medians of rounds: {}; seconds a measurement of `true`: {}; MiB of a stream: {}.\n\n{}\n{}",
        cli.rounds,
        cli.seconds,
        cli.mib,
        table_of(&cases, "native", "classic"),
        table_of_ways(&ways)
    );
    Ok(failed)
}

/// One round of one case: both protocols one after the other.
fn play(case: &mut Case, window: Duration, socket: &Path, classic_first: bool) -> u64 {
    let mut failed = 0;
    for turn in [classic_first, !classic_first] {
        let measured = if turn {
            measure(case.concurrency, window, || {
                let (mut client, request) = (Client::new(), request("true", b""));
                move || client.run(socket, &request, 0)
            })
        } else {
            measure(case.concurrency, window, || {
                let mut client = Native::new();
                move || client.read_frames(socket, "true", &mut |_| ())
            })
        };
        let (who, series) = if turn {
            ("classic", &mut case.peer)
        } else {
            ("native", &mut case.ours)
        };
        series.add(&measured);
        failed += measured.failed;
        if let Some(failure) = measured.failure {
            eprintln!("{who}, c={}: {failure}", case.concurrency);
        }
    }
    failed
}

/// A way of many bytes to or from a command.
struct Way {
    direction: Direction,
    carrier: Carrier,
    mib_per_second: Vec<f64>,
    server_ms_per_gib: Vec<f64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Stdout,
    Stdin,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Carrier {
    Pipe,
    Descriptor,
    Frames,
    Classic,
}

impl Way {
    fn all() -> Vec<Self> {
        let carriers = [
            Carrier::Pipe,
            Carrier::Descriptor,
            Carrier::Frames,
            Carrier::Classic,
        ];
        let directions = [Direction::Stdout, Direction::Stdin].into_iter();
        let pairs = directions.flat_map(|direction| carriers.map(|carrier| (direction, carrier)));
        pairs
            .map(|(direction, carrier)| Self {
                direction,
                carrier,
                mib_per_second: Vec::new(),
                server_ms_per_gib: Vec::new(),
            })
            .collect()
    }

    /// Fails unless every byte arrives.
    fn prove(&self, socket: &Path) -> io::Result<()> {
        let data = pattern(1_000_003);
        let line = match self.direction {
            Direction::Stdin => "cksum",
            Direction::Stdout => PATTERN,
        };
        let stdin = match self.direction {
            Direction::Stdin => &data[..],
            Direction::Stdout => b"",
        };
        let (mut found, expected) = (Vec::new(), run_locally(line, stdin)?);
        self.carry(socket, line, stdin, &mut |chunk| {
            found.extend_from_slice(chunk)
        })?;
        match found == expected {
            true => Ok(()),
            false => Err(io::Error::other("not the output that sh prints")),
        }
    }

    fn measure(&mut self, server: &Server, data: &[u8]) -> io::Result<()> {
        let line = format!("head -c {} /dev/zero", data.len());
        let (line, stdin, expected) = match self.direction {
            Direction::Stdout => (line.as_str(), &b""[..], data.len() as u64),
            Direction::Stdin => ("cat >/dev/null", data, 0),
        };
        let (mut count, before, begin) = (0, cpu(server.pid())?, Instant::now());
        self.carry(server.socket(), line, stdin, &mut |chunk| {
            count += chunk.len() as u64
        })?;
        let seconds = begin.elapsed().as_secs_f64();
        if count != expected {
            return Err(io::Error::other(format!(
                "{count} bytes instead of {expected}"
            )));
        }
        let mib = data.len() as f64 / f64::from(1 << 20);
        self.mib_per_second.push(mib / seconds);
        let busy = cpu(server.pid())?.saturating_sub(before).as_secs_f64();
        self.server_ms_per_gib.push(busy * 1e3 * 1024.0 / mib);
        Ok(())
    }

    /// Runs `line` and moves its bytes.
    fn carry(
        &self,
        socket: &Path,
        line: &str,
        stdin: &[u8],
        sink: &mut dyn FnMut(&[u8]),
    ) -> io::Result<()> {
        let mut native = Native::new();
        match (self.carrier, self.direction) {
            (Carrier::Classic, _) => Client::new().hand_on(socket, &request(line, stdin), sink),
            (Carrier::Pipe, _) => through_pipes(line, stdin, sink),
            (Carrier::Frames, Direction::Stdout) => native.read_frames(socket, line, sink),
            (Carrier::Frames, Direction::Stdin) => native.write_frames(socket, line, stdin, sink),
            (Carrier::Descriptor, Direction::Stdout) => native.read_descriptor(socket, line, sink),
            (Carrier::Descriptor, Direction::Stdin) => {
                native.write_descriptor(socket, line, stdin, sink)
            }
        }
    }

    fn row(&self) -> String {
        let direction = match self.direction {
            Direction::Stdout => "stdout",
            Direction::Stdin => "stdin",
        };
        let carrier = match self.carrier {
            Carrier::Pipe => "a bare pipe, no server",
            Carrier::Descriptor => "a passed descriptor",
            Carrier::Frames => "frames",
            Carrier::Classic => "classic",
        };
        let middle = |values: &[f64]| median(values.to_vec()).unwrap_or(f64::NAN);
        let (speed, busy) = (
            middle(&self.mib_per_second),
            middle(&self.server_ms_per_gib),
        );
        match self.carrier {
            Carrier::Pipe => format!("| {direction} | {carrier} | {speed:.0} | – |\n"),
            _ => format!("| {direction} | {carrier} | {speed:.0} | {busy:.0} |\n"),
        }
    }
}

fn table_of_ways(ways: &[Way]) -> String {
    let heading = "| | through | MiB/s | server's CPU, ms a GiB |\n|---|---|--:|--:|\n";
    let rows = ways.iter().map(Way::row);
    std::iter::once(heading.to_owned()).chain(rows).collect()
}

/// What a program without a server does: a shell of its own, and pipes.
fn through_pipes(line: &str, stdin: &[u8], sink: &mut dyn FnMut(&[u8])) -> io::Result<()> {
    let mut child = Command::new("/bin/sh")
        .args(["-c", line])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    if let Some(mut pipe) = child.stdin.take() {
        for chunk in stdin.chunks(CHUNK) {
            pipe.write_all(chunk)?;
        }
    }
    if let Some(pipe) = child.stdout.take() {
        Native::new().drain(pipe, sink)?;
    }
    match child.wait()? {
        status if status.success() => Ok(()),
        status => Err(io::Error::other(format!("ended with {status}"))),
    }
}

/// The processor's time of all threads of a process, without its children.
fn cpu(pid: u32) -> io::Result<Duration> {
    let mut nanoseconds = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
        // A thread may have ended since.
        let told = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        let first = told.split(' ').next().and_then(|word| word.parse().ok());
        nanoseconds += first.unwrap_or(0);
    }
    Ok(Duration::from_nanos(nanoseconds))
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.01..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("not a number of seconds from 0.01 to 3600".into()),
    }
}

const CONCURRENCY: [usize; 3] = [1, 4, 32];

const CHUNK: usize = 64 * 1024;

/// A line whose output shows a lost or a doubled block.
const PATTERN: &str = "seq 200000";
