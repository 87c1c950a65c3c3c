//! The loop that joins a connection with tokio's readiness and timer.

use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use tokio::io::{Interest as TokioInterest, Ready};

use crate::Error;
use crate::connection::{Body, Connection, Interest, Output, Step};
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
pub async fn drive<B: Body>(
    mut run: Connection<B>,
    timeout: Option<Duration>,
) -> Result<Output<B>, Error> {
    let Some(timeout) = timeout else {
        return to_end(&mut run).await;
    };
    let ended = tokio::time::timeout(timeout, to_end(&mut run)).await;
    ended.unwrap_or_else(|_| Err(run.timed_out(timeout)))
}

async fn to_end<B: Body>(run: &mut Connection<B>) -> Result<Output<B>, Error> {
    // An unconnected unix socket is hung up in epoll's eyes, so register it only then.
    loop {
        match run.on_ready(Interest::default())? {
            Step::Done(output) => return Ok(output),
            Step::Retry(delay) => tokio::time::sleep(delay).await,
            Step::Wait | Step::Yield => break,
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
            Step::Done(output) => return Ok(output),
            Step::Retry(delay) => tokio::time::sleep(delay).await,
            Step::Yield => tokio::task::yield_now().await,
            Step::Wait => {
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
struct Registered<'a, B: Body>(&'a mut Connection<B>);

impl<B: Body> AsRawFd for Registered<'_, B> {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
