//! The descriptors that a client passes to its command (`SCM_RIGHTS`, unix(7)). No call looks at one of
//! them; each is closed on a thread of its own as soon as the command has it or was refused.

use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use crate::process::Passed;
use crate::proto::native::MAX_DESCRIPTORS;
use crate::proto::{Refusal, RefusalKind, Request};
use crate::server::Common;
use crate::server::accepted::Accepted;
use crate::server::budget::Taken;
use crate::server::strangers::{Received, Strangers};

/// Descriptors that have come with a request. Dropped, they are closed.
pub(crate) struct Descriptors<'a> {
    common: &'a Common,
    strangers: Strangers,
    fds: Vec<OwnedFd>,
    permits: Vec<OwnedSemaphorePermit>,
    /// Their numbers, as far as these are counted.
    taken: Vec<Taken>,
    flaw: Option<Flaw>,
}

/// Why a request with these descriptors is not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    TooMany,
    /// Some were lost on the way: the server had no numbers for them.
    Cut,
    NoRoom,
}

/// One descriptor on its way to a command.
struct Handed {
    /// Taken out only when this is dropped.
    fd: Option<OwnedFd>,
    strangers: Strangers,
    taken: Arc<Vec<Taken>>,
    _permits: Arc<Vec<OwnedSemaphorePermit>>,
}

impl<'a> Descriptors<'a> {
    pub(crate) fn new(common: &'a Common, socket: &Accepted) -> Self {
        Self {
            common,
            strangers: socket.strangers().clone(),
            fds: Vec::new(),
            permits: Vec::new(),
            taken: Vec::new(),
            flaw: None,
        }
    }

    /// Takes in what one read has brought.
    pub(crate) fn take(&mut self, received: Received) {
        let count = received.fds.len();
        if received.is_cut {
            self.give_up(match count {
                MAX_DESCRIPTORS.. => Flaw::TooMany,
                _ => Flaw::Cut,
            });
        }
        if count == 0 {
            return;
        }
        if self.fds.len() + count > MAX_DESCRIPTORS {
            self.give_up(Flaw::TooMany);
        }
        match (self.flaw, self.common.budget.passed(count)) {
            (None, Some(permit)) => {
                self.fds.extend(received.fds);
                self.taken.extend(received.taken);
                self.permits.push(permit);
            }
            (_, room) => {
                self.strangers.close_received(received);
                if room.is_none() {
                    self.give_up(Flaw::NoRoom);
                }
            }
        }
    }

    /// What `request` is given.
    ///
    /// # Errors
    /// There are more or fewer of them than it announces, or no room for them.
    pub(super) fn for_request(mut self, request: &Request) -> Result<Vec<Passed>, Refusal> {
        let (came, wanted) = (self.fds.len(), request.descriptors());
        let bad = |message: String| Err(Refusal::new(RefusalKind::BadRequest, message));
        match self.flaw {
            Some(Flaw::NoRoom) => {
                let message = "too many descriptors wait for the start of their commands";
                return Err(Refusal::new(RefusalKind::Busy, message));
            }
            Some(Flaw::Cut) => {
                let message = "the server has too few file descriptors left for those that came";
                return Err(Refusal::new(RefusalKind::Busy, message));
            }
            Some(Flaw::TooMany) => {
                return bad(format!("more than {MAX_DESCRIPTORS} descriptors came"));
            }
            None if came != wanted => {
                return bad(format!("{wanted} descriptors were announced, {came} came"));
            }
            None => {}
        }
        let permits = Arc::new(mem::take(&mut self.permits));
        let taken = Arc::new(mem::take(&mut self.taken));
        let fds = mem::take(&mut self.fds).into_iter();
        Ok(fds
            .map(|fd| -> Passed {
                Box::new(Handed {
                    fd: Some(fd),
                    strangers: self.strangers.clone(),
                    taken: taken.clone(),
                    _permits: permits.clone(),
                })
            })
            .collect())
    }

    /// Closes all that came; the first flaw counts.
    fn give_up(&mut self, flaw: Flaw) {
        self.flaw.get_or_insert(flaw);
        self.close_all();
        self.permits.clear();
    }

    fn close_all(&mut self) {
        let (fds, taken) = (mem::take(&mut self.fds), mem::take(&mut self.taken));
        self.strangers.close(fds, taken);
    }
}

impl Drop for Descriptors<'_> {
    fn drop(&mut self) {
        self.close_all();
    }
}

impl AsFd for Handed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_ref().expect("it is there until the end").as_fd()
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        let fd = Vec::from_iter(self.fd.take());
        self.strangers.close(fd, self.taken.clone());
    }
}
