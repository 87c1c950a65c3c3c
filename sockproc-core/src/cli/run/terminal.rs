//! A terminal for the command, joined to ours: a pseudo-terminal whose far end is the command's.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bytes::{Buf, Bytes};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, grantpt, openpt, unlockpt};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};

use super::outcome::RunError;
use super::sink::Sink;
use crate::connection::Interest;
use crate::proto::Stream;

/// Both terminals. Ours gets its own settings back when this is dropped.
#[derive(Debug)]
pub(super) struct Terminal {
    near_end: OwnedFd,
    /// A copy: without it a command that closes its terminal and opens it again would find it gone.
    far_end: Option<OwnedFd>,
    /// The settings of our terminal as they were.
    settings: Termios,
    /// Whether our terminal passes everything on as it is typed.
    is_raw: bool,
    /// Whether anything may still be typed.
    is_open: bool,
    /// Whether the command's side is closed and all that it wrote has come.
    has_ended: bool,
    /// What was typed, on its way to the command.
    typed: Bytes,
    /// What the command has written, on its way to our stdout.
    shown: Sink,
}

impl Terminal {
    /// A terminal with the settings and the size of ours.
    pub(super) fn open() -> Result<Self, RunError> {
        let settings = tcgetattr(ours()).map_err(|_| RunError::NoTerminal)?;
        let (near_end, far_end) = pair().map_err(RunError::Terminal)?;
        let terminal = Self {
            near_end,
            far_end: Some(far_end),
            settings,
            is_raw: false,
            is_open: true,
            has_ended: false,
            typed: Bytes::new(),
            shown: Sink::new(Stream::Stdout),
        };
        terminal.prepare().map_err(RunError::Terminal)?;
        Ok(terminal)
    }

    fn prepare(&self) -> io::Result<()> {
        if let Some(far_end) = &self.far_end {
            tcsetattr(far_end, OptionalActions::Now, &self.settings)?;
        }
        self.follow_size();
        Ok(())
    }

    /// Three copies of the far end, for the command.
    pub(super) fn far_ends(&self) -> Result<Vec<OwnedFd>, RunError> {
        let copies = self.far_end.iter().flat_map(|far_end| [far_end; 3]);
        let copies = copies.map(|far_end| far_end.try_clone());
        copies
            .collect::<io::Result<_>>()
            .map_err(RunError::Terminal)
    }

    /// Passes on everything from now on: the command runs.
    pub(super) fn begin(&mut self) -> Result<(), RunError> {
        let mut raw = self.settings.clone();
        raw.make_raw();
        self.is_raw = true;
        let set = tcsetattr(ours(), OptionalActions::Now, &raw);
        set.map_err(|error| RunError::Terminal(error.into()))
    }

    /// Follows our terminal, which may have another size, or the settings that a shell has given it while
    /// we were stopped.
    pub(super) fn follow(&mut self) -> Result<(), RunError> {
        self.follow_size();
        match self.is_raw {
            true => self.begin(),
            false => Ok(()),
        }
    }

    /// The command has ended: what others write from now on has no reader.
    pub(super) fn close_far_end(&mut self) {
        self.far_end = None;
        self.is_open = false;
        self.typed = Bytes::new();
    }

    /// Whether all that came from the command is written.
    pub(super) fn is_drained(&self) -> bool {
        self.shown.is_empty()
    }

    /// Whether nothing more will come.
    pub(super) fn is_over(&self) -> bool {
        self.has_ended && self.is_drained()
    }

    pub(super) fn wanted(&self) -> [(BorrowedFd<'_>, Interest); 3] {
        // Until the command runs, Ctrl-C is ours.
        let input = Interest {
            readable: self.is_raw && self.is_open && self.typed.is_empty(),
            writable: false,
        };
        let near_end = Interest {
            // Ours must not change what the command's has changed already.
            readable: self.is_raw && !self.has_ended && self.shown.is_empty(),
            writable: !self.typed.is_empty(),
        };
        [
            (ours(), input),
            self.shown.wanted(),
            (self.near_end.as_fd(), near_end),
        ]
    }

    /// Moves what can be moved; returns whether our terminal has gone just now.
    pub(super) fn on_ready(
        &mut self,
        [input, output, near_end]: [Interest; 3],
    ) -> Result<bool, RunError> {
        if output.writable {
            let stream = self.shown.stream;
            let written = self.shown.write();
            written.map_err(|source| RunError::Write { stream, source })?;
        }
        if near_end.writable {
            self.write_typed();
        }
        if near_end.readable {
            self.read_output();
        }
        if input.readable {
            self.is_open = self.read_typed();
            return Ok(!self.is_open);
        }
        Ok(false)
    }

    /// Whether there is a terminal of ours any more.
    fn read_typed(&mut self) -> bool {
        let mut buf = [0; CHUNK_LEN];
        match rustix::io::read(ours(), &mut buf) {
            Ok(0) => false,
            Ok(len) => {
                self.typed = Bytes::copy_from_slice(&buf[..len]);
                // Mostly there is room, and a wait saved.
                self.write_typed();
                true
            }
            Err(Errno::AGAIN | Errno::INTR) => true,
            Err(_) => false,
        }
    }

    fn write_typed(&mut self) {
        match rustix::io::write(&self.near_end, &self.typed) {
            Ok(len) => self.typed.advance(len),
            Err(Errno::AGAIN | Errno::INTR) => {}
            // No one reads it any more.
            Err(_) => self.typed = Bytes::new(),
        }
    }

    fn read_output(&mut self) {
        let mut buf = [0; CHUNK_LEN];
        match rustix::io::read(&self.near_end, &mut buf) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            // The kernel says EIO when the last far end is closed.
            Ok(0) | Err(_) => self.has_ended = true,
            Ok(len) => self.shown.push(Bytes::copy_from_slice(&buf[..len])),
        }
    }

    fn follow_size(&self) {
        // A terminal whose size is unknown can still be used.
        if let Ok(size) = tcgetwinsize(ours()) {
            let _ = tcsetwinsize(&self.near_end, size);
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if self.is_raw {
            // If our terminal has gone, there is nothing to restore.
            let _ = tcsetattr(ours(), OptionalActions::Now, &self.settings);
        }
    }
}

fn ours() -> BorrowedFd<'static> {
    rustix::stdio::stdin()
}

/// Both ends of a new pseudo-terminal; the near one does not block.
fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
    let flags = flags | OpenptFlags::CLOEXEC;
    let near_end = openpt(flags)?;
    grantpt(&near_end)?;
    unlockpt(&near_end)?;
    let far_end = far_end(&near_end, flags)?;
    rustix::io::fcntl_setfd(&near_end, rustix::io::FdFlags::CLOEXEC)?;
    rustix::io::fcntl_setfd(&far_end, rustix::io::FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&near_end, true)?;
    Ok((near_end, far_end))
}

/// Found by the near end, not by a path that another mount namespace may have for something else.
#[cfg(target_os = "linux")]
fn far_end(near_end: &OwnedFd, flags: OpenptFlags) -> io::Result<OwnedFd> {
    Ok(rustix::pty::ioctl_tiocgptpeer(near_end, flags)?)
}

#[cfg(not(target_os = "linux"))]
fn far_end(near_end: &OwnedFd, flags: OpenptFlags) -> io::Result<OwnedFd> {
    let path = rustix::pty::ptsname(near_end, Vec::new())?;
    let mode = rustix::fs::Mode::empty();
    Ok(rustix::fs::open(path.as_c_str(), flags.into(), mode)?)
}

/// What is moved at once.
const CHUNK_LEN: usize = 16 * 1024;
