//! Signals that come before there is a process to send them to.

use std::collections::VecDeque;

use crate::proto::SignalTo;

/// Signals in their order, each once: the kernel too keeps one of a kind that is pending. So there is
/// a bound to them.
#[derive(Debug, Default)]
pub(super) struct HeldSignals(VecDeque<(u8, SignalTo)>);

impl HeldSignals {
    pub(super) fn hold(&mut self, number: u8, to: SignalTo) {
        if !self.0.contains(&(number, to)) {
            self.0.push_back((number, to));
        }
    }

    pub(super) fn release(&mut self) -> Option<(u8, SignalTo)> {
        self.0.pop_front()
    }
}
