//! How much a run may keep, and where.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use super::slot::Slot;
use super::{self as spill, Spill};
use crate::server::classic::memory::ReplyMemory;

/// Where the streams of one run are kept, and how much of them.
#[derive(Clone)]
pub(crate) struct Allowance {
    memory: ReplyMemory,
    spill: Spill,
    max_spill: u64,
    run: Arc<Run>,
}

/// What both streams of a run have in common.
#[derive(Default)]
struct Run {
    /// Bytes spilled.
    spilled: AtomicU64,
    /// Streams that wait for room in the spill file.
    held_up: AtomicUsize,
}

/// A stream that waits for room in the spill file.
pub(crate) struct HeldUp {
    run: Arc<Run>,
    _spill: Option<spill::HeldUp>,
}

/// Why output cannot be kept although its disk may have room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Full {
    /// The run has used up what it may spill.
    #[error("more output than --max-spill allows")]
    Run,
    /// The run alone wants more than all runs may spill.
    #[error("more output than --max-spill-total allows")]
    Total,
    /// All runs together have used up what they may spill; this one may go on when others give back.
    #[error("the output of all runs together fills --max-spill-total")]
    ForNow,
}

impl Full {
    /// What [`Full`] is behind `error`, if one is.
    pub(crate) fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }
}

impl From<Full> for io::Error {
    fn from(full: Full) -> Self {
        Self::new(io::ErrorKind::QuotaExceeded, full)
    }
}

impl Allowance {
    pub(crate) fn new(memory: &ReplyMemory, spill: &Spill, max_spill: u64) -> Self {
        Self {
            memory: memory.clone(),
            spill: spill.clone(),
            max_spill,
            run: Arc::default(),
        }
    }

    pub(crate) fn memory(&self) -> &ReplyMemory {
        &self.memory
    }

    pub(crate) fn spill(&self) -> &Spill {
        &self.spill
    }

    /// Says that one of the streams waits for room, as long as the result lives.
    pub(crate) fn hold_up(&self) -> HeldUp {
        let is_first = self.run.held_up.fetch_add(1, Relaxed) == 0;
        let len = self.run.spilled.load(Relaxed);
        HeldUp {
            run: self.run.clone(),
            _spill: is_first.then(|| self.spill.hold_up(len)),
        }
    }

    /// Takes room for `len` bytes in `slot`.
    pub(crate) fn take(&self, len: usize, slot: &mut Slot) -> Result<(), Full> {
        let wanted = self.run.spilled.load(Relaxed) + len as u64;
        if wanted > self.max_spill {
            return Err(Full::Run);
        }
        if wanted > self.spill.max_len() {
            return Err(Full::Total);
        }
        slot.reserve(len)?;
        self.run.spilled.fetch_add(len as u64, Relaxed);
        Ok(())
    }
}

impl Drop for HeldUp {
    fn drop(&mut self) {
        self.run.held_up.fetch_sub(1, Relaxed);
    }
}
