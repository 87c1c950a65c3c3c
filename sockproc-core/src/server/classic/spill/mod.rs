//! Output that does not fit into memory: one unnamed file for the whole server.
//!
//! One file costs one descriptor however many runs spill. It is cut into slots; a slot goes back when
//! its owner drops it, and the file goes when the last slot does. What is not written to a slot takes
//! no room on the disk, nor does what was given back: holes are made there.

mod disk;
pub(super) mod limits;
pub(super) mod room;
pub(super) mod slot;

use std::fs::File;
use std::io;
use std::mem;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate};
use tokio::sync::Notify;

use disk::{Disk, Turn};
use limits::Full;
use slot::Slot;

/// Bytes in a slot, at most.
pub(crate) const SLOT_LEN: usize = 1024 * 1024;

/// Slots that were not used for so long give their room back to the disk.
const IDLE: Duration = Duration::from_secs(1);

/// Where slots come from; clones share the file.
#[derive(Clone)]
pub(crate) struct Spill(Arc<SpillFile>);

struct SpillFile {
    dir: PathBuf,
    /// The most bytes at one time.
    max_len: u64,
    slots: Mutex<Slots>,
    /// Held while the file is made, which may take as long as the disk likes.
    opening: Mutex<()>,
    /// Bytes were given back.
    given_back: Notify,
    /// Held by the first of those who wait for that.
    waiting: tokio::sync::Mutex<()>,
    disk: Disk,
}

#[derive(Default)]
struct Slots {
    file: Option<Arc<File>>,
    /// Bytes in all slots that have an owner.
    len: u64,
    /// Bytes among them of runs that wait for room, and so give nothing back.
    held_up: u64,
    /// Slots that have an owner.
    owned: usize,
    /// Slots below `end` without an owner: those that take no room on the disk, and the others.
    holes: Vec<u64>,
    written: Vec<u64>,
    end: u64,
    /// The least number of `written` since holes were made last: this many at its beginning are idle.
    idle: usize,
    /// Whether holes are to be made.
    punching: bool,
}

/// A run that waits for room.
pub(crate) struct HeldUp(Spill, u64);

impl Spill {
    /// A spill file in `dir`, made when it is first needed.
    pub(crate) fn new(dir: PathBuf, max_len: u64) -> Self {
        Self(Arc::new(SpillFile {
            dir,
            max_len,
            slots: Mutex::default(),
            opening: Mutex::default(),
            given_back: Notify::new(),
            waiting: tokio::sync::Mutex::default(),
            disk: Disk::new(),
        }))
    }

    pub(crate) fn max_len(&self) -> u64 {
        self.0.max_len
    }

    /// Waits until something can be read or written.
    ///
    /// # Errors
    /// There is no thread for it.
    pub(crate) async fn turn(&self) -> io::Result<Turn<'_>> {
        self.0.disk.turn().await
    }

    /// An empty slot; it takes nothing before it is written to.
    pub(crate) fn slot(&self) -> Slot {
        let mut slots = self.lock();
        slots.owned += 1;
        // What has room on the disk already is used again first.
        let number = slots.written.pop().or_else(|| slots.holes.pop());
        slots.idle = slots.idle.min(slots.written.len());
        let number = number.unwrap_or_else(|| {
            slots.end += 1;
            slots.end - 1
        });
        Slot::new(self.clone(), number)
    }

    /// Takes `len` bytes of what all runs may spill.
    pub(crate) fn reserve(&self, len: usize) -> Result<(), Full> {
        let mut slots = self.lock();
        if slots.len + len as u64 > self.0.max_len {
            return Err(Full::ForNow);
        }
        slots.len += len as u64;
        Ok(())
    }

    /// Whether a whole slot may be filled at this moment, if ever.
    pub(crate) fn has_room(&self) -> bool {
        let wanted = self.0.max_len.min(SLOT_LEN as u64);
        self.lock().len + wanted <= self.0.max_len
    }

    /// The turn to wait until bytes are given back.
    pub(crate) async fn turn_to_wait(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.0.waiting.lock().await
    }

    /// Says that a run which has spilled `len` bytes waits for room, as long as the result lives.
    pub(crate) fn hold_up(&self, len: u64) -> HeldUp {
        self.lock().held_up += len;
        HeldUp(self.clone(), len)
    }

    /// Whether all bytes are those of runs that wait for room.
    pub(crate) fn is_deadlocked(&self) -> bool {
        let slots = self.lock();
        slots.held_up >= slots.len
    }

    /// Resolves when bytes are given back.
    pub(crate) async fn given_back(&self) {
        self.0.given_back.notified().await;
    }

    /// The file; only for threads that may wait for the disk.
    pub(crate) fn file(&self) -> io::Result<Arc<File>> {
        let existing = || self.lock().file.clone();
        if let Some(file) = existing() {
            return Ok(file);
        }
        let opening = self.0.opening.lock();
        let _opening = opening.unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = existing() {
            return Ok(file);
        }
        let file = Arc::new(tempfile::tempfile_in(&self.0.dir)?);
        self.lock().file = Some(file.clone());
        Ok(file)
    }

    /// Takes back a slot that held `len` bytes.
    pub(crate) fn give_back(&self, number: u64, len: usize) {
        let mut slots = self.lock();
        slots.len -= len as u64;
        slots.owned -= 1;
        slots.written.push(number);
        if slots.owned == 0 {
            let old = mem::take(&mut *slots);
            (slots.punching, slots.held_up) = (old.punching, old.held_up);
            drop(slots);
            // Closing it frees its blocks, which takes time.
            self.0.disk.later(move || drop(old));
        } else if !slots.punching {
            slots.punching = true;
            drop(slots);
            self.punch_in_a_while();
        }
        self.0.given_back.notify_waiters();
    }

    fn punch_in_a_while(&self) {
        let shared = Arc::downgrade(&self.0);
        let punch = move || {
            if let Some(shared) = shared.upgrade() {
                Self(shared).punch_holes();
            }
        };
        self.0.disk.in_a_while(IDLE, punch);
    }

    /// Gives the room of idle slots back to the disk, as far as its file system can.
    fn punch_holes(&self) {
        let mut slots = self.lock();
        let idle = slots.idle;
        let numbers: Vec<u64> = slots.written.drain(..idle).collect();
        slots.idle = slots.written.len();
        if let Some(file) = slots.file.clone() {
            drop(slots);
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            for &number in &numbers {
                let _ = fallocate(&file, flags, offset(number), SLOT_LEN as u64);
            }
            slots = self.lock();
            // Another file has other slots.
            if matches!(&slots.file, Some(now) if Arc::ptr_eq(now, &file)) {
                slots.holes.extend(numbers);
            }
        }
        slots.punching = !slots.written.is_empty();
        if slots.punching {
            drop(slots);
            self.punch_in_a_while();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.0.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for HeldUp {
    fn drop(&mut self) {
        self.0.lock().held_up -= self.1;
    }
}

/// Where in the file a slot begins.
pub(crate) fn offset(number: u64) -> u64 {
    number * SLOT_LEN as u64
}
