//! The loop that joins a connection with poll(2).

use std::io;
use std::thread;
use std::time::Duration;

use crate::Error;
use crate::connection::{Connection, Deadline, Interest, Progress, Receiver, TimeLimit, wait};

/// Drives `run` to its end, which may take `timeout` from now.
///
/// # Errors
/// What the run failed of, or [`Error::Timeout`].
pub fn drive<R: Receiver>(
    mut run: Connection<R>,
    timeout: Option<Duration>,
) -> Result<R::Outcome, Error> {
    let mut time = TimeLimit::new(timeout);
    loop {
        // It is never enough.
        if let Some(outcome) = advance(&mut run, &mut time, |_| false)? {
            return Ok(outcome);
        }
    }
}

/// Drives `run` until it is `enough`, or to its end: then it returns the outcome.
pub(super) fn advance<R: Receiver>(
    run: &mut Connection<R>,
    time: &mut TimeLimit,
    enough: impl Fn(&Connection<R>) -> bool,
) -> Result<Option<R::Outcome>, Error> {
    let mut ready = Interest::NONE;
    loop {
        let progress = run.on_ready(ready)?;
        if let Progress::Done(outcome) = progress {
            return Ok(Some(outcome));
        }
        if enough(run) {
            return Ok(None);
        }
        time.check(run)?;
        ready = next_readiness(run, &progress, time.deadline(run))?;
    }
}

/// Waits until there is something to be done for `run`, or the time is up.
pub(super) fn next_readiness<R: Receiver>(
    run: &Connection<R>,
    progress: &Progress<R::Outcome>,
    deadline: Deadline,
) -> Result<Interest, Error> {
    match progress {
        Progress::Retry(delay) => {
            thread::sleep(deadline.left().map_or(*delay, |left| left.min(*delay)));
            Ok(Interest::NONE)
        }
        Progress::Reconnect | Progress::Done(_) => Ok(Interest::NONE),
        Progress::Wait | Progress::Yield => match wait(run, run.interest(), deadline) {
            Ok(ready) => Ok(ready),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Interest::NONE),
            Err(error) => Err(Error::Wait(error)),
        },
    }
}
