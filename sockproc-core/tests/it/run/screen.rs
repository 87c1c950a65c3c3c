//! A terminal with `sockproc run` on it, seen from where a person sits.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, OptionalActions, Winsize, tcgetattr, tcsetattr, tcsetwinsize};

use super::sockproc;
use crate::support::DEADLINE;

pub(super) struct Screen {
    near_end: File,
    /// Open, so that the terminal outlives what runs on it.
    far_end: OwnedFd,
    child: Child,
    /// What was shown and not asked for yet.
    shown: Vec<u8>,
}

impl Screen {
    /// `sockproc run` with these words, in a session of its own on a terminal of 30 by 90.
    pub(super) fn run(words: &[&str]) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let near_end = openpt(flags).unwrap();
        grantpt(&near_end).unwrap();
        unlockpt(&near_end).unwrap();
        let far_end = ioctl_tiocgptpeer(&near_end, flags).unwrap();
        tcsetwinsize(&near_end, size(30, 90)).unwrap();
        let ours = sockproc(&["run"]);
        let mut command = Command::new("setsid");
        command
            .arg("--ctty")
            .arg(ours.get_program())
            .args(ours.get_args())
            .args(words)
            .env_remove("SOCKPROC_SOCKET")
            .env("TERM", "xterm")
            .stdin(far_end.try_clone().unwrap())
            .stdout(far_end.try_clone().unwrap())
            .stderr(far_end.try_clone().unwrap());
        let child = command.spawn().unwrap();
        Self {
            near_end: near_end.into(),
            far_end,
            child,
            shown: Vec::new(),
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn type_in(&mut self, text: &str) {
        self.near_end.write_all(text.as_bytes()).unwrap();
    }

    pub(super) fn resize(&self, rows: u16, columns: u16) {
        tcsetwinsize(&self.near_end, size(rows, columns)).unwrap();
    }

    /// Waits until `text` is shown, and forgets what was shown up to its end.
    #[track_caller]
    pub(super) fn wait_for(&mut self, text: &str) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let mut windows = self.shown.windows(text.len());
            if let Some(start) = windows.position(|window| window == text.as_bytes()) {
                self.shown.drain(..start + text.len());
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{text:?} is not shown: {}",
                self.shown.escape_ascii()
            );
            self.read();
        }
    }

    /// Waits until it has ended; everything that was shown last is returned too.
    #[track_caller]
    pub(super) fn finish(&mut self) -> (ExitStatus, Vec<u8>) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            self.read();
            if let Some(status) = self.child.try_wait().unwrap() {
                while self.read() {}
                return (status, std::mem::take(&mut self.shown));
            }
            assert!(
                Instant::now() < deadline,
                "it goes on: {}",
                self.shown.escape_ascii()
            );
        }
    }

    /// Whether the terminal echoes what is typed, and hands it on in lines.
    pub(super) fn is_cooked(&self) -> bool {
        let modes = tcgetattr(&self.far_end).unwrap().local_modes;
        modes.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG)
    }

    /// The terminal goes, as when its window is closed.
    pub(super) fn hang_up(mut self) {
        // The other copies belong to what runs on it.
        let null = || File::open("/dev/null").unwrap();
        drop(std::mem::replace(&mut self.near_end, null()));
        self.child.wait().unwrap();
    }

    /// Has the terminal echo what is typed, and hand it on in lines.
    pub(super) fn cook(&self) {
        let mut settings = tcgetattr(&self.far_end).unwrap();
        settings.local_modes |= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        tcsetattr(&self.far_end, OptionalActions::Now, &settings).unwrap();
    }

    /// Takes in what is shown within a moment; whether there was any.
    fn read(&mut self) -> bool {
        let mut fds = [PollFd::new(&self.near_end, PollFlags::IN)];
        let moment = Timespec {
            tv_sec: 0,
            tv_nsec: 50_000_000,
        };
        if poll(&mut fds, Some(&moment)).unwrap() == 0 {
            return false;
        }
        let mut buf = [0; 64 * 1024];
        let len = self.near_end.read(&mut buf).unwrap();
        self.shown.extend(&buf[..len]);
        len > 0
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}
