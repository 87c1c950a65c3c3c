//! Bytes between a command's pipes and whatever is at the other end; each stream for itself.

use std::io;
use std::ops::ControlFlow;

use rustix::buffer::spare_capacity;
use rustix::event::PollFlags;
use rustix::io::Errno;

use super::Pipe;
use crate::reactor::ready_now;

/// Pipes of commands that write much are enlarged to this, so that reader and writer take turns
/// four times less often than with Linux' 64 KiB. 1 MiB measures at most a few per cent faster, and
/// uses up what the pipes of an unprivileged user may hold four times as soon (pipe(7)).
const BULK_PIPE_LEN: usize = 256 * 1024;

/// The kernel's size of a new pipe: who fills it in one go writes much (pipe(7)).
pub(crate) const PIPE_LEN: usize = 64 * 1024;

/// Where a command's output goes.
pub(crate) trait Sink {
    /// A vector with spare capacity; what is read will be appended to it.
    ///
    /// # Errors
    /// There is no memory.
    fn buffer(&mut self) -> io::Result<&mut Vec<u8>>;

    /// Makes room when the buffer is full; may wait, which holds the command up.
    async fn make_room(&mut self) -> io::Result<()>;
}

/// Copies `pipe` to `sink` until end of file.
///
/// # Errors
/// The sink's: it takes no more.
pub(crate) async fn drain(pipe: &Pipe, sink: &mut impl Sink) -> io::Result<()> {
    let mut enlarged = false;
    loop {
        let mut guard = pipe.readable().await?;
        let room = room(sink.buffer()?);
        let len = match guard.try_io(|pipe| Ok(read(pipe, sink.buffer()?)?)) {
            Ok(Ok(0)) => return Ok(()),
            Ok(Ok(len)) => len,
            Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => continue,
            Ok(Err(error)) => return Err(error),
            Err(_would_block) => continue,
        };
        if len < room {
            // The pipe was emptied, and what comes next is a new edge: no need to be told so by EAGAIN.
            guard.clear_ready();
        }
        if len >= PIPE_LEN && !enlarged {
            enlarged = true;
            // Refused when the user's pipes hold too much already: then it stays as it is.
            let _ = rustix::pipe::fcntl_setpipe_size(pipe, BULK_PIPE_LEN);
        }
        sink.make_room().await?;
    }
}

/// Copies to `sink` what is in `pipe` at this moment, however long others keep it open.
///
/// # Errors
/// The sink's: it takes no more.
pub(crate) async fn drain_now(pipe: &Pipe, sink: &mut impl Sink) -> io::Result<()> {
    let mut left = rustix::io::ioctl_fionread(pipe)?;
    while left > 0 {
        match read(pipe, sink.buffer()?) {
            Ok(0) | Err(Errno::AGAIN) => return Ok(()),
            Ok(len) => left = left.saturating_sub(len as u64),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        sink.make_room().await?;
    }
    Ok(())
}

/// Writes all of `data` to a command's stdin; breaks when no process reads it any more.
///
/// # Errors
/// None that a command can cause.
pub(crate) async fn feed(pipe: &Pipe, mut data: &[u8]) -> io::Result<ControlFlow<()>> {
    while !data.is_empty() {
        // Written before readiness is asked for: `closed` clears it.
        match rustix::io::write(pipe, data) {
            Ok(len) => data = &data[len..],
            Err(Errno::AGAIN) => {
                let mut guard = pipe.writable().await?;
                if ready_now(pipe, PollFlags::OUT).is_empty() {
                    guard.clear_ready();
                }
            }
            Err(Errno::INTR) => {}
            Err(Errno::PIPE) => return Ok(ControlFlow::Break(())),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Resolves once no process holds the other end of a command's stdin.
pub(crate) async fn closed(pipe: &Pipe) {
    loop {
        let Ok(mut guard) = pipe.writable().await else {
            return;
        };
        if ready_now(pipe, PollFlags::OUT).contains(PollFlags::ERR) {
            return;
        }
        guard.clear_ready();
    }
}

fn read(pipe: &Pipe, buffer: &mut Vec<u8>) -> rustix::io::Result<usize> {
    rustix::io::read(pipe, spare_capacity(buffer))
}

fn room(buffer: &Vec<u8>) -> usize {
    buffer.capacity() - buffer.len()
}
