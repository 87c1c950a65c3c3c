//! Our own output streams, written as far as they take bytes: a reader that does not read must not keep
//! signals from the command.

use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;

use bytes::{Buf, Bytes};
use rustix::fs::FileType;
use rustix::io::Errno;

use crate::connection::Interest;
use crate::proto::Stream;

/// What waits to be written to one of our streams.
#[derive(Debug)]
pub(super) struct Sink {
    pub(super) stream: Stream,
    fd: BorrowedFd<'static>,
    waiting: VecDeque<Bytes>,
    /// The most that is written at once.
    piece: usize,
}

impl Sink {
    pub(super) fn new(stream: Stream) -> Self {
        let fd = match stream {
            Stream::Stdout => rustix::stdio::stdout(),
            Stream::Stderr => rustix::stdio::stderr(),
        };
        let kind = rustix::fs::fstat(fd).map(|stat| FileType::from_raw_mode(stat.st_mode));
        let piece = match kind {
            Ok(FileType::RegularFile) => usize::MAX,
            _ => SURE_PIECE,
        };
        Self {
            stream,
            fd,
            waiting: VecDeque::new(),
            piece,
        }
    }

    pub(super) fn push(&mut self, data: Bytes) {
        if !data.is_empty() {
            self.waiting.push_back(data);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn wanted(&self) -> (BorrowedFd<'static>, Interest) {
        match self.is_empty() {
            true => (self.fd, Interest::NONE),
            false => (self.fd, Interest::WRITABLE),
        }
    }

    /// Writes a piece to a descriptor that is writable.
    pub(super) fn write(&mut self) -> io::Result<()> {
        let Some(data) = self.waiting.front_mut() else {
            return Ok(());
        };
        match rustix::io::write(self.fd, &data[..data.len().min(self.piece)]) {
            Ok(len) => data.advance(len),
            // Others write to the same pipe, or a signal came.
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if data.is_empty() {
            self.waiting.pop_front();
        }
        Ok(())
    }
}

/// As much as a pipe takes without blocking once poll(2) says that it is writable: PIPE_BUF.
const SURE_PIECE: usize = 4096;
