//! A socket whose operations wait until a deadline, for a host that has a protocol session of its own.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use super::link::{Link, Reached};
use super::{Deadline, Interest, wait};
use crate::embedded::Helper;
use crate::{Address, Error, embedded};

/// A connection to a server, and nothing but its bytes.
///
/// Unlike a [`Connection`](super::Connection) it knows no protocol; it connects, waits and aborts as one
/// does. A deadline that has passed is an error of kind [`TimedOut`](io::ErrorKind::TimedOut), a signal
/// one of kind [`Interrupted`](io::ErrorKind::Interrupted), which also comes now and then by itself: the
/// same call goes on where it was.
#[derive(Debug)]
pub struct BlockingSocket(Link);

impl BlockingSocket {
    /// Connects; a full backlog is asked again and again until `patience` is over.
    ///
    /// # Errors
    /// [`Error::Connect`]; its source is of kind `WouldBlock` if the backlog was still full then, of
    /// kind `TimedOut` if the deadline has passed. No signal ends the wait.
    pub fn connect(
        address: Address,
        deadline: Deadline,
        patience: Deadline,
    ) -> Result<Self, Error> {
        let failed = |address: &Address, source| {
            let address = address.clone();
            Err(Error::Connect { address, source })
        };
        let mut link = Link::open(address.clone())?;
        let mut is_writable = false;
        loop {
            match link.connect(is_writable)? {
                Reached::Server => return Ok(Self(link)),
                Reached::Backlog(_) if patience.has_passed() => {
                    return failed(&address, ErrorKind::WouldBlock.into());
                }
                Reached::Backlog(delay) => {
                    std::thread::sleep(patience.left().map_or(delay, |left| left.min(delay)));
                }
                Reached::Nothing => match ready(&link, Interest::WRITABLE, deadline) {
                    Ok(()) => is_writable = true,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return failed(&address, error),
                },
            }
        }
    }

    /// Connects to the [private helper](crate::embedded), one that was started where this process is now;
    /// else as [`connect`](Self::connect).
    ///
    /// # Errors
    /// [`Error::NoServer`] or [`Error::Helper`] if there can be none, and as [`connect`](Self::connect):
    /// an [`Error::Disconnected`] in place of its error.
    pub fn connect_to_helper(patience: Deadline) -> Result<Self, Error> {
        match Self::hand_over_to(&embedded::helper_of_now()?, patience) {
            Err(Error::Disconnected { source, .. }) if source.kind() == ErrorKind::BrokenPipe => {
                Self::hand_over_to(&embedded::helper_of_now()?, patience)
            }
            connected => connected,
        }
    }

    /// Has a new connection served by `helper`; one that has died is forgotten, and may have said why.
    fn hand_over_to(helper: &Arc<Helper>, patience: Deadline) -> Result<Self, Error> {
        let mut link = Link::to_helper(helper.clone())?;
        loop {
            match link.connect(true) {
                Ok(Reached::Backlog(_)) if patience.has_passed() => {
                    return Err(Error::Disconnected {
                        sent: false,
                        source: ErrorKind::WouldBlock.into(),
                    });
                }
                Ok(Reached::Backlog(delay)) => {
                    std::thread::sleep(patience.left().map_or(delay, |left| left.min(delay)));
                }
                Ok(_) => return Ok(Self(link)),
                Err(error) => {
                    embedded::forget(helper);
                    return Err(helper.reason().unwrap_or(error));
                }
            }
        }
    }

    /// Why the helper at the other end could not serve, if it has said so. To be asked where it has
    /// closed this connection too early: it dies, and the next call starts another one, even if the
    /// kernel has not closed its control socket yet.
    #[must_use]
    pub fn helper_failure(&self) -> Option<Error> {
        let helper = self.0.helper()?;
        embedded::forget(helper);
        helper.reason()
    }

    /// Waits until at least one byte is sent, and returns how many were.
    ///
    /// # Errors
    /// The connection's, or that the wait ended: then nothing was sent.
    pub fn send(&self, data: &[u8], deadline: Deadline) -> io::Result<usize> {
        loop {
            match self.0.socket.send(&[data, &[], &[], &[]], &[]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    ready(&self.0, Interest::WRITABLE, deadline)?;
                }
                result => return result,
            }
        }
    }

    /// Waits for at least one byte; 0 is end of file.
    ///
    /// # Errors
    /// The connection's, or that the wait ended: then nothing is lost.
    pub fn receive(&mut self, buf: &mut [u8], deadline: Deadline) -> io::Result<usize> {
        loop {
            match self.0.socket.reader().read(buf) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    ready(&self.0, Interest::READABLE, deadline)?;
                }
                result => return result,
            }
        }
    }

    /// Closes so that the server sees it at once, whoever else holds a copy of the descriptor.
    pub fn abort(self) {
        self.0.socket.abort();
    }
}

impl AsFd for BlockingSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.socket.as_fd()
    }
}

/// Waits until the socket is ready. A signal that comes just before poll(2) begins interrupts nothing, so
/// after [`SLICE`] the wait ends as if one had come: the host looks, and calls again.
fn ready(link: &Link, interest: Interest, deadline: Deadline) -> io::Result<()> {
    let slice = Deadline::after(Some(SLICE));
    if wait(&link.socket, interest, deadline.or_earlier(slice))? != Interest::NONE {
        return Ok(());
    }
    match deadline.has_passed() {
        true => Err(ErrorKind::TimedOut.into()),
        false => Err(ErrorKind::Interrupted.into()),
    }
}

const SLICE: Duration = Duration::from_millis(250);

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_helper_that_died_before_it_was_asked_says_why() {
        let helper = Arc::new(Helper::dead("too few open files"));
        let error = BlockingSocket::hand_over_to(&helper, Deadline::after(None)).unwrap_err();
        let Error::Helper { source, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(source.to_string(), "too few open files");
    }
}
