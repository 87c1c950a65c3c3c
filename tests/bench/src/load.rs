//! A closed loop: each of its threads starts its next run when its last has ended.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

/// What one loop measured.
#[derive(Debug, Default)]
pub struct Measured {
    /// Whole runs a second.
    pub runs_per_second: f64,
    /// The median run, from before connect to the last byte of the reply; `None` if no run ended in time.
    pub p50: Option<Duration>,
    /// Runs that failed, whenever they did.
    pub failed: u64,
    /// What one of them said.
    pub failure: Option<io::Error>,
}

/// Runs `concurrency` loops for `window`, after a ramp of a fifth of it. `runner` makes the run of each loop.
///
/// Only runs that end inside the window count, so neither the start nor the last runs, when fewer than
/// `concurrency` are in flight, bend the figures.
pub fn measure<R>(concurrency: usize, window: Duration, runner: impl Fn() -> R + Sync) -> Measured
where
    R: FnMut() -> io::Result<()>,
{
    let opens = Instant::now() + window / 5;
    let closes = opens + window;
    let loops: Vec<Loop> = thread::scope(|scope| {
        let threads: Vec<_> = (0..concurrency)
            .map(|_| scope.spawn(|| Loop::until(closes, opens, runner())))
            .collect();
        threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    });
    summary(loops, window)
}

/// The middle of `values`, or the mean of the two middle ones; `None` if there are none.
#[must_use]
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        _ if values.is_empty() => None,
        1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

/// The least of `values` that at most a hundredth of them exceeds; `None` if there are no values.
#[must_use]
pub fn p99(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let rank = (values.len() * 99).div_ceil(100);
    values.get(rank.checked_sub(1)?).copied()
}

#[derive(Default)]
struct Loop {
    latencies: Vec<Duration>,
    failed: u64,
    failure: Option<io::Error>,
}

impl Loop {
    fn until(closes: Instant, opens: Instant, mut run: impl FnMut() -> io::Result<()>) -> Self {
        let mut this = Self::default();
        let mut now = Instant::now();
        while now < closes {
            let started = now;
            let outcome = run();
            now = Instant::now();
            match outcome {
                Ok(()) if (opens..closes).contains(&now) => this.latencies.push(now - started),
                Ok(()) => (),
                Err(error) => {
                    this.failed += 1;
                    this.failure = Some(error);
                    // A server that refuses everything must not be asked as fast as we can.
                    thread::sleep(Duration::from_millis(10));
                }
            }
        }
        this
    }
}

fn summary(loops: Vec<Loop>, window: Duration) -> Measured {
    let mut latencies = Vec::new();
    let mut measured = Measured::default();
    for each in loops {
        latencies.extend(each.latencies.iter().map(Duration::as_secs_f64));
        measured.failed += each.failed;
        measured.failure = measured.failure.or(each.failure);
    }
    measured.runs_per_second = latencies.len() as f64 / window.as_secs_f64();
    measured.p50 = median(latencies).map(Duration::from_secs_f64);
    measured
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn one_of_a_hundred_is_above_p99() {
        assert_eq!(p99(vec![]), None);
        assert_eq!(p99(vec![1.0]), Some(1.0));
        assert_eq!(p99((1..=100).rev().map(f64::from).collect()), Some(99.0));
        assert_eq!(p99((1..=3).map(f64::from).collect()), Some(3.0));
    }

    #[test]
    fn only_runs_that_end_inside_the_window_count() {
        let closes = Instant::now() + Duration::from_millis(50);
        let before = Loop::until(closes, closes, || Ok(()));
        assert_eq!(before.latencies.len(), 0);

        let opens = Instant::now();
        let mut runs = 0;
        let inside = Loop::until(opens + Duration::from_millis(50), opens, || {
            runs += 1;
            Ok(())
        });
        assert!(
            runs - inside.latencies.len() <= 1,
            "all but a last one that ended late"
        );
    }

    #[test]
    fn failures_are_counted_and_one_is_kept() {
        let measured = measure(2, Duration::from_millis(30), || {
            || Err(io::Error::other("no"))
        });
        assert!(measured.failed >= 2);
        assert_eq!((measured.runs_per_second, measured.p50), (0.0, None));
        assert_eq!(measured.failure.unwrap().to_string(), "no");
    }
}
