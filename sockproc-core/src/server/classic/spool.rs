//! One output stream of a classic run, kept until the command has ended: a classic reply tells its
//! length first.

use std::io;
use std::vec;

use super::memory::Kept;
use super::spill::SLOT_LEN;
use super::spill::limits::Allowance;
use super::spill::slot::Slot;
use crate::process::pump::Sink;

/// The end of the stream in memory, little more than [`SLOT_LEN`] bytes, and slots before it.
pub(crate) struct Spool {
    /// All but the last are full.
    slots: Vec<Slot>,
    tail: Kept,
    allowance: Allowance,
}

/// What a [`Spool`] has kept, from the beginning.
pub(crate) struct Pieces {
    /// The first may have been read in part.
    slots: vec::IntoIter<Slot>,
    slot: Option<Slot>,
    tail: Option<Kept>,
    piece: Kept,
}

impl Pieces {
    /// Reads the next piece; false after the last. A slot goes back once its last byte is in memory.
    ///
    /// # Errors
    /// The spill file cannot be read, or there is no memory for a piece of it.
    pub(crate) async fn read_next(&mut self) -> io::Result<bool> {
        if let Some(slot) = self.slot.take().or_else(|| self.slots.next()) {
            let buffer = self.piece.take();
            let spill = slot.spill().clone();
            let (slot, buffer) = slot.read(spill.turn().await?, buffer).await?;
            self.piece = buffer;
            self.slot = (slot.unread() > 0).then_some(slot);
        } else if let Some(tail) = self.tail.take() {
            self.piece = tail;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// The piece that was read last.
    pub(crate) fn piece(&self) -> &[u8] {
        &self.piece.data
    }

    /// Whether the spill file holds some of what is to come.
    pub(crate) fn are_spilled(&self) -> bool {
        self.slot.is_some() || !self.slots.as_slice().is_empty()
    }
}

impl Spool {
    pub(crate) fn new(allowance: Allowance) -> Self {
        Self {
            slots: Vec::new(),
            tail: allowance.memory().buffer(),
            allowance,
        }
    }

    /// Bytes kept.
    pub(crate) fn len(&self) -> u64 {
        let spilled: usize = self.slots.iter().map(Slot::len).sum();
        (spilled + self.tail.data.len()) as u64
    }

    /// The whole stream, if it never left memory.
    fn in_memory(&self) -> Option<&[u8]> {
        self.slots.is_empty().then_some(&self.tail.data)
    }

    /// Appends a line of the server's own, on a line of its own.
    pub(crate) fn push_note(&mut self, note: &str) {
        let tail = &mut self.tail.data;
        if tail.try_reserve_exact(note.len() + 1).is_err() {
            // The stream is cut anyway: the note takes the place of its last bytes.
            tail.truncate(tail.capacity().saturating_sub(note.len() + 1));
        }
        if !matches!(tail.last(), None | Some(b'\n')) {
            tail.push(b'\n');
        }
        tail.extend_from_slice(note.as_bytes());
    }

    /// Two streams and what goes before each in one piece, if they are in memory and no longer than
    /// `max_len`.
    pub(crate) fn join(parts: [(&[u8], &Self); 2], max_len: usize) -> Option<Kept> {
        let mut joined = parts[0].1.allowance.memory().buffer();
        let mut len = 0;
        for (head, spool) in parts {
            len += head.len() + spool.in_memory()?.len();
        }
        if len > max_len || !joined.hold(len) {
            return None;
        }
        for (head, spool) in parts {
            joined.data.extend_from_slice(head);
            joined.data.extend_from_slice(spool.in_memory()?);
        }
        Some(joined)
    }

    /// All that was kept, in pieces of which one at a time is in memory.
    pub(crate) fn into_pieces(mut self) -> Pieces {
        self.tail.shrink();
        Pieces {
            slots: self.slots.into_iter(),
            slot: None,
            tail: Some(self.tail),
            piece: self.allowance.memory().buffer(),
        }
    }

    /// Moves the first `len` bytes of the tail to the spill file.
    async fn spill(&mut self, len: usize) -> io::Result<()> {
        let mut left = len;
        while left > 0 {
            let room = self.slots.last().map_or(0, Slot::room);
            let part = left.min(if room > 0 { room } else { SLOT_LEN });
            self.spill_part(part, room == 0).await?;
            left -= part;
        }
        Ok(())
    }

    async fn spill_part(&mut self, len: usize, to_new_slot: bool) -> io::Result<()> {
        let spill = self.allowance.spill().clone();
        let turn = spill.turn().await?;
        if to_new_slot {
            let refused = |_| io::Error::from(io::ErrorKind::OutOfMemory);
            self.slots.try_reserve(1).map_err(refused)?;
            let mut slot = spill.slot();
            self.allowance.take(len, &mut slot)?;
            self.slots.push(slot);
        } else if let Some(slot) = self.slots.last_mut() {
            self.allowance.take(len, slot)?;
        }
        let Some(slot) = self.slots.pop() else {
            return Ok(());
        };
        let (slot, tail, written) = slot.write(turn, self.tail.take(), len).await?;
        if slot.len() > 0 {
            self.slots.push(slot);
        }
        self.tail = tail;
        written?;
        self.tail.data.drain(..len);
        Ok(())
    }
}

impl Sink for Spool {
    fn buffer(&mut self) -> io::Result<&mut Vec<u8>> {
        if self.tail.is_full() {
            self.tail.grow()?;
        }
        Ok(&mut self.tail.data)
    }

    async fn make_room(&mut self) -> io::Result<()> {
        if !self.tail.count() {
            Box::pin(self.spill(self.tail.data.len())).await?;
            self.tail.free();
        } else if self.tail.data.len() > SLOT_LEN {
            Box::pin(self.spill(SLOT_LEN)).await?;
        }
        if self.tail.is_full() && !self.tail.data.is_empty() && self.tail.grow().is_err() {
            // What there is stays as a buffer.
            Box::pin(self.spill(self.tail.data.len())).await?;
        }
        Ok(())
    }
}
