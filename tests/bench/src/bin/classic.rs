//! Holds our server, over the classic protocol, against a peer and against the floor.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use clap::Parser;
use sockproc_bench::client::Client;
use sockproc_bench::load::{Measured, measure};
use sockproc_bench::report::{Case, table};
use sockproc_bench::server::Server;
use sockproc_bench::workload::Workload;

/// Measures our server against a peer with the same command line, in one interleaved run.
#[derive(Parser)]
#[command(name = "classic")]
struct Cli {
    /// Our server.
    #[arg(long, default_value = "target/release/sockproc")]
    ours: PathBuf,
    /// The server to hold it against; without one, ours is measured against the floor alone.
    #[arg(long)]
    peer: Option<PathBuf>,
    /// Seconds of each single measurement.
    #[arg(long, default_value_t = 1.0, value_parser = seconds)]
    seconds: f64,
    /// Rounds; the table holds their medians.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Only the workloads whose name contains this; can be given several times.
    #[arg(long)]
    only: Vec<String>,
    /// One round of some ten seconds: shows that all of this works, the figures mean nothing.
    #[arg(long, conflicts_with_all = ["seconds", "rounds"])]
    smoke: bool,
}

fn main() -> ExitCode {
    match compare(&Cli::parse()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failed) => {
            eprintln!("classic: {failed} runs failed");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("classic: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints the table and returns the number of failed runs.
fn compare(cli: &Cli) -> io::Result<u64> {
    let mut workloads = Workload::all()?;
    workloads.retain(|workload| {
        let named = |part| workload.name.contains(part);
        cli.only.is_empty() || cli.only.iter().any(|part| named(part.as_str()))
    });
    let (rounds, seconds) = if cli.smoke {
        (1, SMOKE_SECONDS)
    } else {
        (cli.rounds, cli.seconds)
    };
    let window = Duration::from_secs_f64(seconds);
    let mut cases: Vec<_> = workloads
        .iter()
        .flat_map(|workload| {
            CONCURRENCY.map(|concurrency| (workload, Case::new(workload.name, concurrency)))
        })
        .collect();
    let mut failed = 0;
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        // Two processes of one program differ by up to 10 % for as long as they live.
        let ours = Server::start(&cli.ours)?;
        let peer = cli.peer.as_deref().map(Server::start).transpose()?;
        for server in [Some(&ours), peer.as_ref()].into_iter().flatten() {
            prove(server.socket(), &workloads)?;
        }
        for (nth, (workload, case)) in (round as usize..).zip(&mut cases) {
            failed += play(case, workload, window, &ours, peer.as_ref(), nth % 2 == 0);
        }
    }
    let cases: Vec<_> = cases.into_iter().map(|(_, case)| case).collect();
    println!(
        "Medians of rounds: {rounds}; seconds a measurement: {seconds}.\n\n{}",
        table(&cases)
    );
    Ok(failed)
}

/// Fails unless the server behind `socket` answers every workload with every byte.
fn prove(socket: &Path, workloads: &[Workload]) -> io::Result<()> {
    for workload in workloads {
        let (request, expected) = workload.proof()?;
        if Client::new().output(socket, &request)? != expected {
            return Err(io::Error::other(format!(
                "{}: not the output that sh gives",
                workload.name
            )));
        }
    }
    Ok(())
}

/// One round of one case: ours and the peer one after the other, then the floor.
fn play(
    case: &mut Case,
    workload: &Workload,
    window: Duration,
    ours: &Server,
    peer: Option<&Server>,
    peer_first: bool,
) -> u64 {
    let concurrency = case.concurrency;
    let over_socket = |server: &Server| {
        measure(concurrency, window, || {
            let mut client = Client::new();
            move || client.run(server.socket(), &workload.request, workload.stdout_len)
        })
    };
    let mut turns = vec![
        ("ours", Some(ours), &mut case.ours),
        ("peer", peer, &mut case.peer),
    ];
    if peer_first {
        turns.reverse();
    }
    let mut failed = 0;
    for (name, server, series) in turns {
        let Some(server) = server else { continue };
        let measured = over_socket(server);
        series.add(&measured);
        failed += told(&measured, name, workload.name, concurrency);
    }
    if workload.has_floor {
        let measured = measure(concurrency, window, || || spawn_bare(workload.command));
        case.floor.add(&measured);
        failed += told(&measured, "floor", workload.name, concurrency);
    }
    failed
}

fn told(measured: &Measured, who: &str, workload: &str, concurrency: usize) -> u64 {
    if let Some(failure) = &measured.failure {
        eprintln!(
            "{who}, {workload}, c={concurrency}: {} runs failed: {failure}",
            measured.failed
        );
    }
    measured.failed
}

/// What no server can be faster than: std's posix_spawn of the same shell, its exit awaited, and nothing read.
fn spawn_bare(command: &str) -> io::Result<()> {
    let mut shell = Command::new("/bin/sh");
    shell
        .arg("-c")
        .arg(command)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    match shell.status()? {
        status if status.success() => Ok(()),
        status => Err(io::Error::other(format!("ended with {status}"))),
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.01..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("not a number of seconds from 0.01 to 3600".into()),
    }
}

const CONCURRENCY: [usize; 3] = [1, 4, 32];

/// Thirty measurements and their ramps: some nine seconds.
const SMOKE_SECONDS: f64 = 0.25;
