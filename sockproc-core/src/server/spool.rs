//! One output stream of a classic run, kept until the command has ended: a classic reply tells its
//! length first.

use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::vec;

use super::spill::{SLOT_LEN, Slot, Spill};
use crate::process::pump::Sink;

/// A first buffer for streams that stay small; what is not touched costs nothing.
const FIRST_LEN: usize = 64 * 1024;

/// What one run may still spill, both of its streams together.
#[derive(Clone)]
pub(crate) struct Allowance {
    spill: Spill,
    left: Arc<AtomicU64>,
}

/// Little more than [`SLOT_LEN`] bytes in memory, and full slots before them.
pub(crate) struct Spool {
    slots: Vec<Slot>,
    tail: Vec<u8>,
    allowance: Allowance,
}

/// What a [`Spool`] has kept, from the beginning.
pub(crate) struct Pieces {
    slots: vec::IntoIter<Slot>,
    tail: Option<Vec<u8>>,
    buffer: Vec<u8>,
}

impl Pieces {
    /// The next piece; `None` after the last.
    ///
    /// # Errors
    /// The spill file cannot be read.
    pub(crate) async fn next(&mut self) -> io::Result<Option<&[u8]>> {
        self.buffer = match (self.slots.next(), self.tail.take()) {
            (Some(slot), tail) => {
                self.tail = tail;
                slot.read(mem::take(&mut self.buffer)).await?
            }
            (None, Some(tail)) => tail,
            (None, None) => return Ok(None),
        };
        Ok(Some(&self.buffer))
    }
}

/// Takes everything and keeps nothing: what a cut stream goes on into.
#[derive(Default)]
pub(crate) struct Discard(Vec<u8>);

impl Allowance {
    pub(crate) fn new(spill: Spill, max_len: u64) -> Self {
        Self {
            spill,
            left: Arc::new(AtomicU64::new(max_len)),
        }
    }

    fn take_slot(&self) -> io::Result<()> {
        self.left
            .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(SLOT_LEN as u64))
            .map(drop)
            .map_err(|_| io::ErrorKind::QuotaExceeded.into())
    }
}

impl Spool {
    pub(crate) fn new(allowance: Allowance) -> Self {
        Self {
            slots: Vec::new(),
            tail: Vec::new(),
            allowance,
        }
    }

    /// Bytes kept.
    pub(crate) fn len(&self) -> u64 {
        (self.slots.len() * SLOT_LEN + self.tail.len()) as u64
    }

    /// The whole stream, if it never left memory.
    pub(crate) fn in_memory(&self) -> Option<&[u8]> {
        self.slots.is_empty().then_some(&self.tail)
    }

    /// Appends a line of the server's own, on a line of its own.
    pub(crate) fn push_note(&mut self, note: &str) {
        if !matches!(self.tail.last(), None | Some(b'\n')) {
            self.tail.push(b'\n');
        }
        self.tail.extend_from_slice(note.as_bytes());
    }

    /// All that was kept, in pieces of which one at a time is in memory.
    pub(crate) fn into_pieces(self) -> Pieces {
        Pieces {
            slots: self.slots.into_iter(),
            tail: Some(self.tail),
            buffer: Vec::new(),
        }
    }

    async fn spill(&mut self) -> io::Result<()> {
        self.allowance.take_slot()?;
        let (data, slot) = self.allowance.spill.write(mem::take(&mut self.tail)).await;
        self.tail = data;
        self.slots.push(slot?);
        self.tail.drain(..SLOT_LEN);
        Ok(())
    }
}

impl Sink for Spool {
    fn buffer(&mut self) -> &mut Vec<u8> {
        let len = self.tail.len();
        if len == self.tail.capacity() {
            let capacity = if len == 0 {
                FIRST_LEN
            } else {
                SLOT_LEN + FIRST_LEN
            };
            self.tail.reserve_exact(capacity - len);
        }
        &mut self.tail
    }

    async fn make_room(&mut self) -> io::Result<()> {
        if self.tail.len() > SLOT_LEN {
            self.spill().await
        } else {
            Ok(())
        }
    }
}

impl Sink for Discard {
    fn buffer(&mut self) -> &mut Vec<u8> {
        self.0.reserve(FIRST_LEN);
        &mut self.0
    }

    async fn make_room(&mut self) -> io::Result<()> {
        self.0.clear();
        Ok(())
    }
}
