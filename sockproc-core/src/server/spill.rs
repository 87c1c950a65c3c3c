//! Output that does not fit into memory: one unnamed file for the whole server.
//!
//! One file costs one descriptor however many runs spill, and its size is their total. It is cut
//! into slots; a slot goes back when its owner drops it, and the file goes when the last slot does.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes in a slot.
pub(crate) const SLOT_LEN: usize = 1024 * 1024;

/// Where slots come from; clones share the file.
#[derive(Clone)]
pub(crate) struct Spill(Arc<Shared>);

struct Shared {
    dir: PathBuf,
    /// The most slots at one time.
    max_slots: u64,
    slots: Mutex<Slots>,
}

#[derive(Default)]
struct Slots {
    file: Option<Arc<File>>,
    /// Slots below `end` that nobody owns.
    free: Vec<u64>,
    end: u64,
}

/// [`SLOT_LEN`] bytes that were written once and can be read until this is dropped.
pub(crate) struct Slot {
    spill: Spill,
    file: Arc<File>,
    number: u64,
}

impl Spill {
    /// A spill file in `dir`, made when it is first needed.
    pub(crate) fn new(dir: PathBuf, max_len: u64) -> Self {
        let max_slots = max_len / SLOT_LEN as u64;
        Self(Arc::new(Shared {
            dir,
            max_slots,
            slots: Mutex::default(),
        }))
    }

    /// Writes the first [`SLOT_LEN`] bytes of `data` to a slot, off the reactor; gives `data` back
    /// whatever happens.
    pub(crate) async fn write(&self, data: Vec<u8>) -> (Vec<u8>, io::Result<Slot>) {
        let spill = self.clone();
        let work = move || {
            let slot = spill.take().and_then(|slot| {
                slot.file.write_all_at(&data[..SLOT_LEN], slot.offset())?;
                Ok(slot)
            });
            (data, slot)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) => (Vec::new(), Err(io::Error::other(error))),
        }
    }

    fn take(&self) -> io::Result<Slot> {
        let mut slots = self.lock();
        let file = match &slots.file {
            Some(file) => file.clone(),
            None => slots
                .file
                .insert(Arc::new(tempfile::tempfile_in(&self.0.dir)?))
                .clone(),
        };
        let number = match slots.free.pop() {
            Some(number) => number,
            None if slots.end < self.0.max_slots => {
                slots.end += 1;
                slots.end - 1
            }
            None => return Err(io::Error::from(io::ErrorKind::QuotaExceeded)),
        };
        Ok(Slot {
            spill: self.clone(),
            file,
            number,
        })
    }

    fn give_back(&self, number: u64) {
        let mut slots = self.lock();
        slots.free.push(number);
        if slots.free.len() as u64 == slots.end {
            *slots = Slots::default();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.0.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// Reads the slot's bytes into `buffer`, replacing what it holds, off the reactor.
    pub(crate) async fn read(&self, mut buffer: Vec<u8>) -> io::Result<Vec<u8>> {
        let (file, offset) = (self.file.clone(), self.offset());
        let work = move || {
            buffer.resize(SLOT_LEN, 0);
            file.read_exact_at(&mut buffer, offset)?;
            Ok(buffer)
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(io::Error::other)?
    }

    fn offset(&self) -> u64 {
        self.number * SLOT_LEN as u64
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.spill.give_back(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(byte: u8) -> Vec<u8> {
        vec![byte; SLOT_LEN]
    }

    #[tokio::test]
    async fn slots_hold_what_was_written_and_their_room_is_used_again() {
        let spill = Spill::new("/tmp".into(), 2 * SLOT_LEN as u64);
        let first = spill.write(filled(1)).await.1.unwrap();
        let second = spill.write(filled(2)).await.1.unwrap();
        let (data, full) = spill.write(filled(3)).await;
        assert_eq!(full.err().unwrap().kind(), io::ErrorKind::QuotaExceeded);
        drop(first);
        let third = spill.write(data).await.1.unwrap();
        assert_eq!(third.offset(), 0);
        assert_eq!(second.read(Vec::new()).await.unwrap(), filled(2));
        assert_eq!(third.read(Vec::new()).await.unwrap(), filled(3));
        drop((second, third));
        assert!(spill.lock().file.is_none());
    }

    #[tokio::test]
    async fn a_missing_directory_is_told_at_the_first_write() {
        let spill = Spill::new("/nonexistent".into(), 1 << 30);
        assert_eq!(
            spill.write(filled(0)).await.1.err().unwrap().kind(),
            io::ErrorKind::NotFound
        );
    }
}
