//! A part of the spill file, written and read by threads that may wait for the disk.

use std::io;
use std::os::unix::fs::FileExt;

use rustix::buffer::spare_capacity;

use super::disk::Turn;
use super::limits::Full;
use super::{SLOT_LEN, Spill, offset};
use crate::server::classic::memory::Kept;

/// Room for [`SLOT_LEN`] bytes that are written from the beginning and can be read until this is
/// dropped.
pub(crate) struct Slot {
    spill: Spill,
    number: u64,
    /// Bytes of the spill's that this slot may hold.
    reserved: usize,
    /// Bytes written, and bytes read of them.
    written: usize,
    read: usize,
}

impl Slot {
    pub(crate) fn new(spill: Spill, number: u64) -> Self {
        Self {
            spill,
            number,
            reserved: 0,
            written: 0,
            read: 0,
        }
    }

    /// Bytes that it has not reserved yet.
    pub(crate) fn room(&self) -> usize {
        SLOT_LEN - self.reserved
    }

    /// Takes `len` bytes of what all runs may spill.
    pub(crate) fn reserve(&mut self, len: usize) -> Result<(), Full> {
        self.spill.reserve(len)?;
        self.reserved += len;
        Ok(())
    }

    /// Appends the first `len` bytes of `data`, which were reserved.
    ///
    /// # Errors
    /// `turn` is lost, and all with it. The inner error is the disk's.
    pub(crate) async fn write(
        mut self,
        turn: Turn<'_>,
        data: Kept,
        len: usize,
    ) -> io::Result<(Self, Kept, io::Result<()>)> {
        let work = move || {
            let written = self.spill.file().and_then(|file| {
                let offset = offset(self.number) + self.written as u64;
                file.write_all_at(&data.data[..len], offset)
            });
            if written.is_ok() {
                self.written += len;
            }
            (self, data, written)
        };
        turn.run(work).await
    }

    /// Reads on into `buffer`, replacing what it holds: all that is left, or less if memory is short.
    ///
    /// # Errors
    /// The disk's, or there is no memory even for a few bytes.
    pub(crate) async fn read(
        mut self,
        turn: Turn<'_>,
        mut buffer: Kept,
    ) -> io::Result<(Self, Kept)> {
        let work = move || {
            let file = self.spill.file()?;
            buffer.make_room_for(self.unread())?;
            let data = &mut buffer.data;
            let len = self.unread().min(data.capacity());
            let begin = offset(self.number) + self.read as u64;
            while data.len() < len {
                let at = begin + data.len() as u64;
                let mut read = || rustix::io::pread(&*file, spare_capacity(data), at);
                if rustix::io::retry_on_intr(&mut read)? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            data.truncate(len);
            self.read += len;
            Ok((self, buffer))
        };
        turn.run(work).await?
    }

    pub(crate) fn spill(&self) -> &Spill {
        &self.spill
    }

    /// Bytes written.
    pub(crate) fn len(&self) -> usize {
        self.written
    }

    /// Bytes written and not read yet.
    pub(crate) fn unread(&self) -> usize {
        self.written - self.read
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.spill.give_back(self.number, self.reserved);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::classic::memory::ReplyMemory;

    async fn slot_of(spill: &Spill, byte: u8) -> io::Result<Slot> {
        let mut slot = spill.slot();
        append(&mut slot, byte, SLOT_LEN).await?;
        Ok(slot)
    }

    async fn append(slot: &mut Slot, byte: u8, len: usize) -> io::Result<()> {
        slot.reserve(len)?;
        let mut data = ReplyMemory::new(0).buffer();
        data.data = vec![byte; len];
        let (spill, empty) = (slot.spill().clone(), slot.spill().slot());
        let taken = std::mem::replace(slot, empty);
        let (written, _, result) = taken.write(spill.turn().await?, data, len).await?;
        *slot = written;
        result
    }

    async fn read(slot: Slot) -> Vec<u8> {
        let spill = slot.spill().clone();
        let buffer = ReplyMemory::new(u64::MAX).buffer();
        let (_, buffer) = slot
            .read(spill.turn().await.unwrap(), buffer)
            .await
            .unwrap();
        buffer.data.clone()
    }

    #[tokio::test]
    async fn slots_hold_what_was_written_and_their_room_is_used_again() {
        let spill = Spill::new("/tmp".into(), 2 * SLOT_LEN as u64);
        let first = slot_of(&spill, 1).await.unwrap();
        let second = slot_of(&spill, 2).await.unwrap();
        let full = slot_of(&spill, 3).await.err().unwrap();
        assert_eq!(Full::of(&full), Some(Full::ForNow));
        let number = first.number;
        drop(first);
        let third = slot_of(&spill, 3).await.unwrap();
        assert_eq!(third.number, number);
        assert_eq!(read(second).await, [2; SLOT_LEN]);
        assert_eq!(read(third).await, [3; SLOT_LEN]);
    }

    #[tokio::test]
    async fn a_slot_is_filled_piece_by_piece() {
        let spill = Spill::new("/tmp".into(), SLOT_LEN as u64);
        let mut slot = spill.slot();
        for byte in 1..=3 {
            append(&mut slot, byte, 1000).await.unwrap();
        }
        assert_eq!((slot.len(), slot.room()), (3000, SLOT_LEN - 3000));
        assert_eq!(read(slot).await, [[1; 1000], [2; 1000], [3; 1000]].concat());
    }

    #[tokio::test]
    async fn a_missing_directory_is_told_at_the_first_write() {
        let spill = Spill::new("/nonexistent".into(), 1 << 30);
        let error = slot_of(&spill, 0).await.err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
