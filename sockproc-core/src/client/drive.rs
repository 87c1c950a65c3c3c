//! The loop that joins a connection with tokio's readiness and timer.

use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use tokio::io::{Interest as TokioInterest, Ready};

use crate::Error;
use crate::connection::{Connection, Deadline, Interest, Progress, Receiver, TimeLimit};
use crate::reactor::watch;

/// Drives `run` to its end, which may take `timeout` from now.
///
/// # Errors
/// What the run failed of, or [`Error::Timeout`].
///
/// # Panics
/// Outside a tokio runtime whose I/O and time are enabled.
///
/// # Cancel safety
/// Dropping the future gives the run up, as dropping the [`Connection`] does.
pub async fn drive<R: Receiver>(
    mut run: Connection<R>,
    timeout: Option<Duration>,
) -> Result<R::Outcome, Error> {
    let mut time = TimeLimit::new(timeout);
    loop {
        let keeps_time = run.server_keeps_time();
        let deadline = time.deadline(&run);
        let advanced = advance(&mut run, |run| run.server_keeps_time() != keeps_time);
        match within(deadline, advanced).await {
            Some(Ok(Some(outcome))) => return Ok(outcome),
            // The server keeps the time from now on.
            Some(Ok(None)) => {}
            Some(Err(error)) => return Err(error),
            None => time.check(&run)?,
        }
    }
}

/// `None` if `future` is not ready at the deadline.
pub(super) async fn within<F: Future>(deadline: Deadline, future: F) -> Option<F::Output> {
    match deadline.left() {
        Some(left) => tokio::time::timeout(left, future).await.ok(),
        None => Some(future.await),
    }
}

/// Drives `run` until it is `enough`, or to its end: then it returns the outcome.
///
/// # Cancel safety
/// Dropping the future leaves `run` where it is; call this again to go on.
pub(super) async fn advance<R: Receiver>(
    run: &mut Connection<R>,
    enough: impl Fn(&Connection<R>) -> bool,
) -> Result<Option<R::Outcome>, Error> {
    loop {
        // An unconnected unix socket is hung up in epoll's eyes, so register it only when connected.
        match run.on_ready(Interest::NONE)? {
            Progress::Done(outcome) => return Ok(Some(outcome)),
            Progress::Retry(delay) => tokio::time::sleep(delay).await,
            Progress::Reconnect => {}
            Progress::Wait | Progress::Yield if enough(run) => return Ok(None),
            Progress::Wait | Progress::Yield => match registered(run, &enough).await? {
                Some(ended) => return Ok(ended),
                None => continue,
            },
        }
    }
}

/// As [`advance`], on one descriptor; `None` if another one takes its place.
async fn registered<R: Receiver>(
    run: &mut Connection<R>,
    enough: impl Fn(&Connection<R>) -> bool,
) -> Result<Option<Option<R::Outcome>>, Error> {
    let both = TokioInterest::READABLE | TokioInterest::WRITABLE;
    let mut fd = watch(Registered(run), both).map_err(Error::Wait)?;
    loop {
        let wanted = fd.get_ref().0.interest();
        let mut guard = fd.ready_mut(interest(wanted)).await.map_err(Error::Wait)?;
        let ready = Interest {
            readable: guard.ready().is_readable(),
            writable: guard.ready().is_writable(),
        };
        let progress = guard.get_inner_mut().0.on_ready(ready)?;
        if !matches!(progress, Progress::Done(_)) && enough(guard.get_inner().0) {
            return Ok(Some(None));
        }
        match progress {
            Progress::Done(outcome) => return Ok(Some(Some(outcome))),
            Progress::Reconnect => return Ok(None),
            Progress::Retry(delay) => tokio::time::sleep(delay).await,
            Progress::Yield => tokio::task::yield_now().await,
            Progress::Wait => {
                // Only what is still wanted was tried until it would block; forgetting more would
                // lose a wake-up.
                let wanted = guard.get_inner().0.interest();
                if ready.readable && wanted.readable {
                    guard.clear_ready_matching(Ready::READABLE);
                }
                if ready.writable && wanted.writable {
                    guard.clear_ready_matching(Ready::WRITABLE);
                }
            }
        }
    }
}

fn interest(wanted: Interest) -> TokioInterest {
    match wanted {
        Interest {
            readable: true,
            writable: true,
        } => TokioInterest::READABLE | TokioInterest::WRITABLE,
        Interest {
            readable: false,
            writable: true,
        } => TokioInterest::WRITABLE,
        _ => TokioInterest::READABLE,
    }
}

/// A connection in the hands of tokio's reactor.
struct Registered<'a, R: Receiver>(&'a mut Connection<R>);

impl<R: Receiver> AsRawFd for Registered<'_, R> {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
