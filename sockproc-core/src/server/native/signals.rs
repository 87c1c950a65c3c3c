//! Signals on their way from a client to its command.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::hint::Hint;
use crate::process::Leader;
use crate::proto::SignalTo;

/// Signals that have come and were not sent yet.
pub(super) struct Signals {
    waiting: Mutex<VecDeque<(u8, SignalTo)>>,
    came: Hint,
}

impl Signals {
    pub(super) fn new() -> Self {
        Self {
            waiting: Mutex::default(),
            came: Hint::default(),
        }
    }

    pub(super) fn push(&self, number: u8, to: SignalTo) {
        self.waiting().push_back((number, to));
        self.came.give();
    }

    /// Sends them as they come. To be polled behind what hears them.
    pub(super) async fn deliver(&self, leader: &Leader) -> ! {
        loop {
            let next = self.waiting().pop_front();
            match next {
                Some((number, to)) => leader.signal(number, to == SignalTo::Group),
                None => self.came.given().await,
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<(u8, SignalTo)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
