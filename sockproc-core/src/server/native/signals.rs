//! Signals on their way from a client to its command.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::process::Leader;
use crate::proto::SignalTo;

/// Signals that have come and were not sent yet.
pub(super) struct Signals {
    waiting: Mutex<VecDeque<(u8, SignalTo)>>,
    came: Notify,
}

impl Signals {
    pub(super) fn new() -> Self {
        Self {
            waiting: Mutex::default(),
            came: Notify::new(),
        }
    }

    pub(super) fn push(&self, number: u8, to: SignalTo) {
        self.waiting().push_back((number, to));
        self.came.notify_one();
    }

    /// Sends them as they come.
    pub(super) async fn deliver(&self, leader: &Leader) -> ! {
        loop {
            let next = self.waiting().pop_front();
            match next {
                Some((number, to)) => leader.signal(number, to == SignalTo::Group),
                None => self.came.notified().await,
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<(u8, SignalTo)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
