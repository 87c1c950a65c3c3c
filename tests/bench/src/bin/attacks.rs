//! How long `echo hi` takes beside an attack, divided by how long it takes beside as many honest clients.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use sockproc_bench::crowd::raise_open_files;
use sockproc_bench::disk::Disk;
use sockproc_bench::load::{median, p99};
use sockproc_bench::scene::{Scene, Side, Stand};

/// Measures `echo hi` beside attacks and beside as many honest clients, in one interleaved run.
#[derive(Parser)]
#[command(name = "attacks")]
struct Cli {
    /// The server.
    #[arg(long, default_value = "target/release/sockproc")]
    ours: PathBuf,
    /// Seconds for which each single measurement asks for `echo hi`.
    #[arg(long, default_value_t = 2.0, value_parser = seconds)]
    seconds: f64,
    /// Rounds; each has every attack once and every honest crowd once.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Seconds after which an answer counts as missing.
    #[arg(long, default_value_t = 5.0, value_parser = seconds)]
    patience: f64,
    /// Only the attacks whose name contains this; can be given several times.
    #[arg(long)]
    only: Vec<String>,
    /// One round of some ten seconds: shows that all of this works, the figures mean nothing.
    #[arg(long, conflicts_with_all = ["seconds", "rounds", "patience"])]
    smoke: bool,
}

/// One line of the table.
struct Row {
    scene: Scene,
    attack: Answers,
    honest: Answers,
}

/// How long answers took in all rounds, in milliseconds; infinity for one that did not come.
#[derive(Default)]
struct Answers(Vec<f64>);

fn main() -> ExitCode {
    match compare(&Cli::parse()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(missing) => {
            eprintln!("attacks: {missing} answers did not come beside honest clients");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("attacks: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints the table; returns how many answers did not come beside honest clients.
fn compare(cli: &Cli) -> io::Result<usize> {
    raise_open_files();
    let (rounds, seconds, patience) = match cli.smoke {
        true => (1, SMOKE_SECONDS, SMOKE_PATIENCE),
        false => (cli.rounds, cli.seconds, cli.patience),
    };
    let mut rows = rows(&cli.only);
    let disk = match rows.iter().any(|row| row.scene == Scene::HungSpillDisk) {
        true => disk(),
        false => None,
    };
    let stand = Stand {
        program: &cli.ours,
        disk: disk.as_ref(),
        window: Duration::from_secs_f64(seconds),
        patience: Duration::from_secs_f64(patience),
    };
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        let measured = |row: &&mut Row| disk.is_some() || row.scene != Scene::HungSpillDisk;
        for row in rows.iter_mut().filter(measured) {
            row.play(&stand, round % 2 == 0)?;
        }
    }
    println!(
        "Rounds: {rounds}; seconds a measurement: {seconds}; patience: {patience} s.\n\n{HEADING}"
    );
    for row in &rows {
        println!("{}", row.line(patience * 1e3));
    }
    Ok(rows.iter().map(|row| row.honest.missing()).sum())
}

fn rows(only: &[String]) -> Vec<Row> {
    let mut scenes = Scene::ALL.to_vec();
    if !only.is_empty() {
        scenes.retain(|scene| only.iter().any(|part| scene.name().contains(part.as_str())));
    }
    let row = |scene| Row {
        scene,
        attack: Answers::default(),
        honest: Answers::default(),
    };
    scenes.into_iter().map(row).collect()
}

fn disk() -> Option<Disk> {
    Disk::mount()
        .inspect_err(|error| {
            eprintln!(
                "not measured: {}: no disk here can be made to hang: {error}",
                Scene::HungSpillDisk.name()
            );
        })
        .ok()
}

impl Row {
    fn play(&mut self, stand: &Stand, honest_first: bool) -> io::Result<()> {
        let mut sides = [
            (Side::Attack, &mut self.attack),
            (Side::Honest, &mut self.honest),
        ];
        if honest_first {
            sides.reverse();
        }
        for (side, answers) in sides {
            let took = stand.play(self.scene, side)?;
            let ms = |took: Option<Duration>| {
                took.map_or(f64::INFINITY, |took| took.as_secs_f64() * 1e3)
            };
            answers.0.extend(took.into_iter().map(ms));
        }
        Ok(())
    }

    /// `patience` in milliseconds is what an answer that did not come took at least.
    fn line(&self, patience: f64) -> String {
        let (attack, honest) = (&self.attack, &self.honest);
        let (over, under) = (median(attack.0.clone()), median(honest.0.clone()));
        let figures = [
            figure(over, patience),
            figure(under, patience),
            over.zip(under).map_or_else(
                || "–".into(),
                |(over, under)| figure(Some(over / under), patience / under),
            ),
            figure(p99(attack.0.clone()), patience),
            figure(p99(honest.0.clone()), patience),
            format!("{} of {}", attack.missing(), attack.0.len()),
            format!("{} of {}", honest.missing(), honest.0.len()),
        ];
        format!("| {} | {} |", self.scene.name(), figures.join(" | "))
    }
}

impl Answers {
    fn missing(&self) -> usize {
        self.0.iter().filter(|ms| ms.is_infinite()).count()
    }
}

/// `least` stands for infinity: it is known only that it was more.
fn figure(value: Option<f64>, least: f64) -> String {
    match value {
        Some(value) if value.is_finite() => format!("{value:.2}"),
        Some(value) if value.is_infinite() && least.is_finite() => format!("> {least:.0}"),
        _ => "–".into(),
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.01..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("not a number of seconds from 0.01 to 3600".into()),
    }
}

const HEADING: &str = "\
| beside | attack, p50 ms | honest, p50 ms | attack ÷ honest | attack, p99 ms | honest, p99 ms | attack, no answer | honest, no answer |
|---|--:|--:|--:|--:|--:|--:|--:|";

/// Eight measurements: some ten seconds with what goes before and after them.
const SMOKE_SECONDS: f64 = 0.25;

const SMOKE_PATIENCE: f64 = 1.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_divides_the_medians() {
        let row = Row {
            scene: Scene::HeldBackStdins,
            attack: Answers(vec![4.0, 6.0, 100.0]),
            honest: Answers(vec![2.0, 4.0, 1.0]),
        };
        assert_eq!(
            row.line(5e3),
            "| 20 held-back stdins | 6.00 | 2.00 | 3.00 | 100.00 | 4.00 | 0 of 3 | 0 of 3 |"
        );
    }

    #[test]
    fn answers_that_did_not_come_took_more_than_the_patience() {
        let row = Row {
            scene: Scene::HeldBackStdins,
            attack: Answers(vec![f64::INFINITY, 3.0, f64::INFINITY]),
            honest: Answers(vec![2.0]),
        };
        assert_eq!(
            row.line(5e3),
            "| 20 held-back stdins | > 5000 | 2.00 | > 2500 | > 5000 | 2.00 | 2 of 3 | 0 of 1 |"
        );
    }
}
