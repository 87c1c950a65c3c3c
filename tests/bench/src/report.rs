//! The figures of all rounds, and the table made of them.

use std::fmt::Write as _;

use crate::load::{Measured, median};

/// What one server, or the floor, did in every round of one case.
#[derive(Default)]
pub struct Series {
    runs_per_second: Vec<f64>,
    p50_ms: Vec<f64>,
}

/// One line of the table: one workload at one concurrency.
pub struct Case {
    /// How the table calls the workload.
    pub workload: &'static str,
    /// How many runs were in flight.
    pub concurrency: usize,
    /// The server that is ours.
    pub ours: Series,
    /// The server it is held against; empty without one.
    pub peer: Series,
    /// The bare spawn loop; empty if it was not measured.
    pub floor: Series,
}

impl Series {
    /// Adds one round.
    pub fn add(&mut self, measured: &Measured) {
        self.runs_per_second.push(measured.runs_per_second);
        // A round in which no run ended still counts: as one slower than all others.
        self.p50_ms.push(
            measured
                .p50
                .map_or(f64::INFINITY, |p50| p50.as_secs_f64() * 1e3),
        );
    }

    fn throughput(&self) -> Option<f64> {
        median(self.runs_per_second.clone())
    }

    fn p50(&self) -> Option<f64> {
        median(self.p50_ms.clone())
    }
}

impl Case {
    /// A case without any round.
    #[must_use]
    pub fn new(workload: &'static str, concurrency: usize) -> Self {
        Self {
            workload,
            concurrency,
            ours: Series::default(),
            peer: Series::default(),
            floor: Series::default(),
        }
    }

    /// The median of the rounds' own ratios: ours and the peer ran one right after the other in each.
    fn ratio(&self, of: impl Fn(&Series) -> &[f64]) -> Option<f64> {
        let rounds = of(&self.ours).iter().zip(of(&self.peer));
        let ratios = rounds.map(|(ours, peer)| ours / peer);
        median(ratios.filter(|ratio| !ratio.is_nan()).collect())
    }

    /// Rounds in which ours did more runs a second than the peer, of all.
    fn won(&self) -> Option<String> {
        let pairs = || {
            self.ours
                .runs_per_second
                .iter()
                .zip(&self.peer.runs_per_second)
        };
        let won = pairs().filter(|(ours, peer)| ours > peer).count();
        (pairs().count() > 0).then(|| format!("{won}/{}", pairs().count()))
    }

    fn row(&self) -> String {
        let Self {
            workload,
            concurrency,
            ours,
            peer,
            floor,
        } = self;
        let runs = self.ratio(|series| &series.runs_per_second);
        let p50 = self.ratio(|series| &series.p50_ms);
        format!(
            "| {workload} | {concurrency} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            figure(ours.throughput(), 1),
            figure(peer.throughput(), 1),
            figure(runs, 2),
            figure(ours.p50(), 2),
            figure(peer.p50(), 2),
            figure(p50, 2),
            self.won().unwrap_or_else(|| "–".into()),
            figure(floor.throughput(), 1),
            figure(floor.p50(), 2),
        )
    }
}

/// The table, in Markdown, medians over the rounds.
#[must_use]
pub fn table(cases: &[Case]) -> String {
    let mut table = String::from(HEADING);
    for case in cases {
        let _ = writeln!(table, "{}", case.row());
    }
    table
}

/// The same where `ours` and the peer have names.
#[must_use]
pub fn table_of(cases: &[Case], ours: &str, peer: &str) -> String {
    table(cases).replace("ours", ours).replace("peer", peer)
}

fn figure(value: Option<f64>, decimals: usize) -> String {
    value
        .filter(|value| value.is_finite())
        .map_or_else(|| "–".into(), |value| format!("{value:.decimals$}"))
}

const HEADING: &str = "\
| | c | ours, runs/s | peer, runs/s | ours ÷ peer (above 1: ours is faster) | ours, p50 ms | peer, p50 ms | ours ÷ peer (below 1: ours is faster) | rounds won | floor, runs/s | floor, p50 ms |
|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|
";

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn measured(runs_per_second: f64, p50_ms: Option<u64>) -> Measured {
        Measured {
            runs_per_second,
            p50: p50_ms.map(Duration::from_millis),
            ..Measured::default()
        }
    }

    #[test]
    fn a_row_holds_medians_and_ratios() {
        let mut case = Case::new("`true`", 4);
        // 1.8, 0.25 and 2 times the peer's.
        for (ours, peer) in [(900.0, 500.0), (100.0, 400.0), (800.0, 400.0)] {
            case.ours.add(&measured(ours, Some(2)));
            case.peer.add(&measured(peer, Some(4)));
        }
        assert_eq!(
            case.row(),
            "| `true` | 4 | 800.0 | 400.0 | 1.80 | 2.00 | 4.00 | 0.50 | 2/3 | – | – |"
        );
    }

    #[test]
    fn what_was_not_measured_is_left_out() {
        let mut case = Case::new("`true`", 1);
        case.ours.add(&measured(0.0, None));
        assert_eq!(
            case.row(),
            "| `true` | 1 | 0.0 | – | – | – | – | – | – | – | – |"
        );
    }
}
