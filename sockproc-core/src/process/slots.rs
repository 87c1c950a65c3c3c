//! Low numbers for what a child is given, so that its start costs the same however many descriptors we
//! have open.
//!
//! clone(2) copies the table of open files: with 5,000 of them that takes half a millisecond, the most of
//! a start, and the child closes them all again. A child that shares the table at first, and then takes
//! one of its own by `close_range(CLOSE_RANGE_UNSHARE)`, copies only what is below the range. So what it
//! is to have is put there before: at numbers that are taken when the server starts, and are low then.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{Mode, OFlags};
use rustix::io::{DupFlags, dup3, fcntl_dupfd_cloexec};

use super::spawn::Source;

/// One for each standard stream.
const STREAMS: usize = 3;

/// Numbers for the commands that are started at the same time.
#[derive(Debug)]
pub(super) struct Slots {
    /// What is there while no command is started.
    placeholder: Option<OwnedFd>,
    free: Mutex<Vec<[OwnedFd; STREAMS]>>,
    /// Above all of them.
    end: RawFd,
    /// Set where the kernel cannot do it: before Linux 5.9, and where seccomp(2) forbids it.
    is_useless: AtomicBool,
}

/// Some of these numbers, which stand for the descriptors of one command until this is dropped.
pub(super) struct Lent<'a> {
    slots: &'a Slots,
    fds: Option<[OwnedFd; STREAMS]>,
}

impl Slots {
    /// Takes numbers for `count` commands.
    ///
    /// # Errors
    /// There are no more descriptors.
    pub(super) fn new(count: usize) -> io::Result<Self> {
        let placeholder = match count {
            0 => None,
            _ => Some(placeholder()?),
        };
        let mut free = Vec::with_capacity(count);
        for fd in placeholder.iter().cycle().take(count) {
            free.push([above_stdio(fd)?, above_stdio(fd)?, above_stdio(fd)?]);
        }
        let numbers = free.iter().flatten().map(AsRawFd::as_raw_fd);
        Ok(Self {
            end: numbers.max().map_or(0, |last| last + 1),
            placeholder,
            free: Mutex::new(free),
            is_useless: AtomicBool::new(false),
        })
    }

    /// Puts descriptors of ours, those at these places of `fds`, at numbers of these, as long as there
    /// are some; `fds` names them then.
    ///
    /// The caller keeps what it has, so nothing is closed here for the last time.
    pub(super) fn lend(
        &self,
        fds: &mut [(Source, RawFd)],
        ours: [Option<BorrowedFd>; STREAMS],
    ) -> Option<Lent<'_>> {
        if self.is_useless.load(Relaxed) {
            return None;
        }
        let free = self
            .free
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let mut lent = Lent {
            slots: self,
            fds: Some(free?),
        };
        let slots = lent.fds.iter_mut().flatten();
        let mut moved = [None; STREAMS];
        for ((slot, fd), moved) in slots.zip(ours).zip(&mut moved) {
            if let Some(fd) = fd {
                dup3(fd, slot, DupFlags::CLOEXEC).ok()?;
                *moved = Some((fd.as_raw_fd(), slot.as_raw_fd()));
            }
        }
        for (source, _) in fds {
            let Source::Ours(number) = source else {
                continue;
            };
            let mut moved = moved.iter().flatten();
            if let Some((_, slot)) = moved.find(|(from, _)| from == number) {
                *number = *slot;
            }
        }
        Some(lent)
    }
}

impl Lent<'_> {
    /// From this number on the child needs nothing.
    pub(super) fn end(&self) -> RawFd {
        self.slots.end
    }

    /// Takes in that the kernel cannot do without a copy.
    pub(super) fn are_useless(&self) {
        self.slots.is_useless.store(true, Relaxed);
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let (Some(mut fds), Some(placeholder)) = (self.fds.take(), &self.slots.placeholder) else {
            return;
        };
        // Whoever reads what the command writes must find its end.
        for fd in &mut fds {
            let _ = dup3(placeholder, fd, DupFlags::CLOEXEC);
        }
        let mut free = self
            .slots
            .free
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        free.push(fds);
    }
}

fn placeholder() -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    above_stdio(&rustix::fs::open("/dev/null", flags, Mode::empty())?)
}

fn above_stdio(fd: impl AsFd) -> io::Result<OwnedFd> {
    Ok(fcntl_dupfd_cloexec(fd, 3)?)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_descriptor_is_there_as_long_as_it_is_lent() {
        let slots = Slots::new(1).unwrap();
        let (mut read, write) = io::pipe().unwrap();
        let mut fds = [(Source::Null, 0), (Source::Ours(write.as_raw_fd()), 1)];
        let lent = slots
            .lend(&mut fds, [None, Some(write.as_fd()), None])
            .unwrap();
        let Source::Ours(number) = fds[1].0 else {
            panic!("{fds:?}");
        };
        assert!(number != write.as_raw_fd() && number < lent.end());
        assert!(slots.lend(&mut [], [None; STREAMS]).is_none());
        drop(write);
        drop(lent);
        assert_eq!(read.read(&mut [0]).unwrap(), 0);
        assert!(slots.lend(&mut [], [None; STREAMS]).is_some());
    }

    #[test]
    fn nothing_is_lent_that_is_of_no_use() {
        assert!(
            Slots::new(0)
                .unwrap()
                .lend(&mut [], [None; STREAMS])
                .is_none()
        );
        let slots = Slots::new(2).unwrap();
        slots.lend(&mut [], [None; STREAMS]).unwrap().are_useless();
        assert!(slots.lend(&mut [], [None; STREAMS]).is_none());
    }
}
