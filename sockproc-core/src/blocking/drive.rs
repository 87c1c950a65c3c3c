//! The loop that joins a connection with poll(2).

use std::io;
use std::thread;
use std::time::Duration;

use crate::Error;
use crate::connection::{Connection, Deadline, Interest, Progress, Receiver, wait};

/// Drives `run` to its end, which may take `timeout` from now.
///
/// # Errors
/// What the run failed of, or [`Error::Timeout`].
pub fn drive<R: Receiver>(
    mut run: Connection<R>,
    timeout: Option<Duration>,
) -> Result<R::Outcome, Error> {
    let deadline = Deadline::after(timeout);
    let mut ready = Interest::NONE;
    loop {
        let pause = match run.on_ready(ready)? {
            Progress::Done(outcome) => return Ok(outcome),
            Progress::Wait | Progress::Yield => None,
            Progress::Retry(delay) => Some(delay),
        };
        if let Some(timeout) = timeout
            && deadline.has_passed()
        {
            return Err(run.timed_out(timeout));
        }
        ready = match pause {
            None => next_readiness(&run, deadline)?,
            Some(delay) => {
                thread::sleep(deadline.left().map_or(delay, |left| left.min(delay)));
                Interest::NONE
            }
        };
    }
}

/// Waits until `run` is ready for something, or its time is up.
fn next_readiness<R: Receiver>(run: &Connection<R>, deadline: Deadline) -> Result<Interest, Error> {
    match wait(run, run.interest(), deadline) {
        Ok(ready) => Ok(ready),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Interest::NONE),
        Err(error) => Err(Error::Wait(error)),
    }
}
