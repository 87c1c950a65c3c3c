//! The loop that joins a connection with tokio's readiness and timer.

use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use tokio::io::{Interest as TokioInterest, Ready};

use crate::Error;
use crate::connection::{Connection, Interest, Progress, Receiver};
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
    let Some(timeout) = timeout else {
        return to_end(&mut run).await;
    };
    let ended = tokio::time::timeout(timeout, to_end(&mut run)).await;
    ended.unwrap_or_else(|_| Err(run.timed_out(timeout)))
}

async fn to_end<R: Receiver>(run: &mut Connection<R>) -> Result<R::Outcome, Error> {
    // An unconnected unix socket is hung up in epoll's eyes, so register it only then.
    loop {
        match run.on_ready(Interest::NONE)? {
            Progress::Done(output) => return Ok(output),
            Progress::Retry(delay) => tokio::time::sleep(delay).await,
            Progress::Wait | Progress::Yield => break,
        }
    }
    let both = TokioInterest::READABLE | TokioInterest::WRITABLE;
    let mut fd = watch(Registered(run), both).map_err(Error::Wait)?;
    loop {
        let wanted = fd.get_ref().0.interest();
        let mut guard = fd.ready_mut(interest(wanted)).await.map_err(Error::Wait)?;
        let ready = Interest {
            readable: guard.ready().is_readable(),
            writable: guard.ready().is_writable(),
        };
        match guard.get_inner_mut().0.on_ready(ready)? {
            Progress::Done(output) => return Ok(output),
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
