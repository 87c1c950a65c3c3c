//! The memory that output takes while it waits for its reader: one bound for all runs together.

use std::collections::TryReserveError;
use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::spill::SLOT_LEN;
use crate::process::pump::PIPE_LEN;

/// A buffer where memory is short: it is held for a few reads and the write that follows.
const SHORT_LEN: usize = 16 * 1024;

/// With so much left a stream that outgrows [`PIPE_LEN`] gets a whole buffer, and is copied once.
const ROOMY_LEN: usize = 4 * SLOT_LEN;

/// The first bytes of a buffer, a page, are not counted: most streams hold no more.
const UNCOUNTED_LEN: usize = 4096;

/// Every read has room for so much, the longest packet of a pipe in packet mode: what of it does not fit
/// is lost (pipe(2), `O_DIRECT`).
const MIN_ROOM: usize = 4096;

/// The first buffer. Each time that one of 64 KiB is freed, glibc looks for memory to give back to the
/// kernel.
const FIRST_LEN: usize = UNCOUNTED_LEN + MIN_ROOM;

/// What all buffers may still take; clones share it.
#[derive(Clone)]
pub(crate) struct ReplyMemory(Arc<AtomicUsize>);

/// A buffer that is counted, and is uncounted when dropped.
pub(crate) struct Kept {
    pub(crate) data: Vec<u8>,
    counted: usize,
    memory: ReplyMemory,
}

impl ReplyMemory {
    pub(crate) fn new(len: u64) -> Self {
        Self(Arc::new(AtomicUsize::new(
            usize::try_from(len).unwrap_or(usize::MAX),
        )))
    }

    /// An empty buffer.
    pub(crate) fn buffer(&self) -> Kept {
        Kept {
            data: Vec::new(),
            counted: 0,
            memory: self.clone(),
        }
    }

    fn take(&self, len: usize) -> bool {
        self.0
            .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(len))
            .is_ok()
    }

    fn has(&self, len: usize) -> bool {
        self.0.load(Relaxed) >= len
    }
}

impl Kept {
    /// Counts what was appended; false if the bound has no room for it.
    pub(crate) fn count(&mut self) -> bool {
        let len = self.data.len();
        // What was used once is counted until it is freed.
        len <= self.counted + UNCOUNTED_LEN || self.count_to(len)
    }

    /// Makes more room. The first buffers are counted as they are used; what is added later will mostly
    /// be, and is counted at once.
    ///
    /// # Errors
    /// There is no memory, or no room in the bound; the buffer is as it was.
    pub(crate) fn grow(&mut self) -> io::Result<()> {
        let len = self.data.len();
        let whole = SLOT_LEN + PIPE_LEN;
        let grown = if len == 0 {
            self.data.try_reserve_exact(FIRST_LEN).is_ok()
        } else if len <= FIRST_LEN {
            self.outgrow_first().is_ok()
        } else if self.memory.has(ROOMY_LEN) {
            self.hold(whole)
        } else {
            self.hold(whole.min((2 * len).max(PIPE_LEN)))
        };
        if grown {
            Ok(())
        } else {
            Err(io::ErrorKind::OutOfMemory.into())
        }
    }

    /// Empties the buffer and makes it hold `len` bytes, or fewer if memory is short.
    ///
    /// # Errors
    /// There is no memory even for a few bytes.
    pub(crate) fn make_room_for(&mut self, len: usize) -> io::Result<()> {
        self.data.clear();
        let mut sizes = [SLOT_LEN, 4 * PIPE_LEN, PIPE_LEN].into_iter();
        if sizes.any(|size| self.hold(len.min(size))) || self.data.capacity() > 0 {
            return Ok(());
        }
        self.data
            .try_reserve_exact(SHORT_LEN.min(len))
            .or_else(|_| self.data.try_reserve_exact(UNCOUNTED_LEN.min(len)))
            .map_err(|_| io::ErrorKind::OutOfMemory.into())
    }

    /// What it holds; an empty buffer stays.
    pub(crate) fn take(&mut self) -> Self {
        let empty = self.memory.buffer();
        mem::replace(self, empty)
    }

    /// Whether there is no room for another read.
    pub(crate) fn is_full(&self) -> bool {
        self.data.capacity() - self.data.len() < MIN_ROOM
    }

    /// Gives back all that it took.
    pub(crate) fn free(&mut self) {
        self.data = Vec::new();
        self.count_to(0);
    }

    /// Gives back what is not used any more, if that is much.
    pub(crate) fn shrink(&mut self) {
        let len = self.data.len();
        if self.counted < len + 4 * PIPE_LEN {
            return;
        }
        // A copy: a large buffer that is cut and not freed lets glibc return every later one to the
        // kernel, page by page (M_MMAP_THRESHOLD in mallopt(3)).
        let mut data = Vec::new();
        if data.try_reserve_exact(len).is_ok() {
            data.extend_from_slice(&self.data);
            self.data = data;
            self.count_to(len);
        }
    }

    /// Makes as much room as a pipe holds, unless memory is short: what is not touched costs nothing.
    fn outgrow_first(&mut self) -> Result<(), TryReserveError> {
        let is_short = !self.memory.has(PIPE_LEN);
        let capacity = if is_short { SHORT_LEN } else { PIPE_LEN };
        self.data
            .try_reserve_exact(capacity - self.data.len())
            .or_else(|_| self.data.try_reserve_exact(MIN_ROOM))
    }

    /// Counts `len` bytes and makes room for them, or leaves all as it is.
    pub(crate) fn hold(&mut self, len: usize) -> bool {
        if self.data.capacity() >= len {
            return true;
        }
        let before = self.counted;
        if !self.count_to(len) {
            return false;
        }
        let more = len - self.data.len();
        let held = self.data.try_reserve_exact(more).is_ok();
        if !held {
            self.count_to(before + UNCOUNTED_LEN);
        }
        held
    }

    fn count_to(&mut self, len: usize) -> bool {
        let wanted = len.saturating_sub(UNCOUNTED_LEN);
        if wanted > self.counted {
            if !self.memory.take(wanted - self.counted) {
                return false;
            }
        } else {
            self.memory.0.fetch_add(self.counted - wanted, Relaxed);
        }
        self.counted = wanted;
        true
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.memory.0.fetch_add(self.counted, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_together_stay_within_the_bound_and_give_it_back() {
        let memory = ReplyMemory::new(100_000);
        let filled = |len| {
            let mut buffer = memory.buffer();
            buffer.data = vec![0; len];
            (buffer.count(), buffer)
        };
        let (fits, first) = filled(60_000);
        let (too_much, second) = filled(60_000);
        let (small, third) = filled(UNCOUNTED_LEN);
        assert!(fits && !too_much && small);
        drop((first, second, third));
        assert!(memory.has(100_000));
    }

    #[test]
    fn a_stream_begins_with_two_pages_and_goes_on_with_what_a_pipe_holds() {
        let mut buffer = ReplyMemory::new(u64::MAX).buffer();
        buffer.grow().unwrap();
        assert_eq!(buffer.data.capacity(), FIRST_LEN);
        buffer.data.resize(UNCOUNTED_LEN, 0);
        assert!(!buffer.is_full());
        buffer.data.push(0);
        assert!(buffer.is_full());
        buffer.grow().unwrap();
        assert_eq!((buffer.data.capacity(), buffer.counted), (PIPE_LEN, 0));
        buffer.data.resize(PIPE_LEN, 0);
        buffer.grow().unwrap();
        assert!(buffer.data.capacity() > SLOT_LEN && buffer.counted > SLOT_LEN);
    }

    #[test]
    fn a_buffer_to_read_into_is_small_where_memory_is_short() {
        let mut buffer = ReplyMemory::new(SLOT_LEN as u64).buffer();
        buffer.make_room_for(SLOT_LEN).unwrap();
        assert!(buffer.data.capacity() >= SLOT_LEN);
        let mut other = buffer.memory.buffer();
        other.make_room_for(SLOT_LEN).unwrap();
        assert_eq!(other.data.capacity(), SHORT_LEN);
        buffer.free();
        other.make_room_for(SLOT_LEN).unwrap();
        assert!(other.data.capacity() >= SLOT_LEN);
    }

    #[test]
    fn memory_that_is_refused_is_an_error() {
        let mut buffer = ReplyMemory::new(u64::MAX).buffer();
        assert!(!buffer.hold(isize::MAX as usize));
        assert_eq!((buffer.counted, buffer.data.capacity()), (0, 0));
        assert!(buffer.hold(PIPE_LEN));
        let counted = buffer.counted;
        assert!(!buffer.hold(isize::MAX as usize));
        assert_eq!(buffer.counted, counted);
    }
}
