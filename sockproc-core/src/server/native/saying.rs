//! What is said to a client: frames, written whole one after another, and together where there is no pause
//! between them.
//!
//! Most of them are held, or taken by the client's kernel at once. What waits is on the heap, so that the
//! futures of a run that waits for something else are small.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;

use bytes::Bytes;
use tokio::sync::Mutex;

use super::conversation::Conversation;
use super::hint::Hint;
use crate::proto::native::{HEADER_LEN, ServerSession};
use crate::proto::{ProtocolError, Stream};

/// Frames are written together up to this length, and longer ones alone.
const MAX_HELD: usize = 4 * 1024;

/// The frames that were said and are not written yet.
pub(super) struct Saying {
    /// Frames are written whole, one after another.
    writing: Mutex<Writing>,
    /// Something waits for [`flush`](Conversation::flush).
    held: Hint,
}

/// Frames on their way. If their writer is dropped, the next one goes on with them.
#[derive(Default)]
struct Writing {
    frames: Vec<u8>,
    written: usize,
    /// Passed with the first byte.
    fd: Option<OwnedFd>,
}

/// Writes a frame that cannot be held.
type PendingWrite<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

impl Conversation<'_> {
    /// Says what `frame` makes of the session, `fd` with it. Nothing is said to a client that has gone.
    pub(super) async fn say(
        &self,
        frame: impl FnOnce(&mut ServerSession) -> Result<Bytes, ProtocolError>,
        fd: Option<OwnedFd>,
    ) {
        if let Some(write) = self.begin_to_say(frame, fd) {
            write.await;
        }
    }

    /// Says the next bytes of a stream, which stand in `frame` behind room for a header.
    pub(super) async fn say_data(&self, stream: Stream, frame: Vec<u8>) {
        if let Some(write) = self.begin_to_say_data(stream, frame) {
            write.await;
        }
    }

    /// Says why the client's frames make no sense. No more is said to it: it is taken for gone.
    pub(super) fn fail(&self, error: &ProtocolError) -> PendingWrite<'_> {
        self.give_up();
        let last = self.session().send_failed(error).to_vec();
        Box::pin(async { drop(self.write(Writing::of(last, None)).await) })
    }

    fn begin_to_say(
        &self,
        frame: impl FnOnce(&mut ServerSession) -> Result<Bytes, ProtocolError>,
        fd: Option<OwnedFd>,
    ) -> Option<PendingWrite<'_>> {
        let frame = frame(&mut self.session());
        match frame {
            Ok(frame) => self.hand_over(Writing::of(frame.to_vec(), fd)),
            Err(error) => {
                tracing::debug!(%error, "not said");
                None
            }
        }
    }

    fn begin_to_say_data(&self, stream: Stream, mut frame: Vec<u8>) -> Option<PendingWrite<'_>> {
        let len = frame.len() - HEADER_LEN;
        let header = self.session().send_data(stream, len).ok()?;
        frame[..HEADER_LEN].copy_from_slice(&header);
        self.hand_over(Writing::of(frame, None))
    }

    /// Holds a short frame until the next [`flush`](Self::flush), or returns what writes it.
    fn hand_over(&self, next: Writing) -> Option<PendingWrite<'_>> {
        if self.is_gone() {
            return None;
        }
        let next = self.saying.hold(next)?;
        Some(Box::pin(self.unless_gone(self.write(next))))
    }

    /// Writes what was said, whenever that comes to wait for more; never resolves. To be polled last:
    /// what is said without a pause leaves in one write, and wakes the client once.
    pub(super) async fn flush_at_pauses<T>(&self) -> T {
        loop {
            self.saying.held.given().await;
            self.flush().await;
        }
    }

    /// Writes what was said; never resolves.
    pub(super) async fn flush_and_pend<T>(&self) -> T {
        self.flush().await;
        std::future::pending().await
    }

    /// Writes what was said.
    pub(super) async fn flush(&self) {
        let flush = async { self.finish(&mut *self.saying.writing.lock().await).await };
        Box::pin(self.unless_gone(flush)).await;
    }

    /// Writes what was said, the last of all. Who has ended its own direction may still read: it gets what
    /// its kernel takes at once.
    pub(super) async fn flush_last(&self) {
        self.flush().await;
        let writing = self.saying.writing.lock().await;
        if let Some(rest @ [_, ..]) = writing.frames.get(writing.written..) {
            let _ = self.socket.try_write(rest);
        }
    }

    async fn unless_gone(&self, written: impl Future<Output = io::Result<()>>) {
        if self.is_gone() {
            return;
        }
        tokio::select! {
            biased;
            written = written => if written.is_err() {
                self.give_up();
            },
            () = self.gone() => {}
        }
    }

    /// Writes `next` behind what is on its way.
    async fn write(&self, next: Writing) -> io::Result<()> {
        let mut writing = self.saying.writing.lock().await;
        self.finish(&mut writing).await?;
        *writing = next;
        self.finish(&mut writing).await
    }

    /// Writes what is left of the frames.
    async fn finish(&self, writing: &mut Writing) -> io::Result<()> {
        while writing.written < writing.frames.len() {
            let rest = &writing.frames[writing.written..];
            let len = if let Some(fd) = &writing.fd {
                self.socket.write_with(rest, fd.as_fd()).await?
            } else {
                // Most writes wait for nothing.
                match self.socket.try_write(rest) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        self.write_in_time(rest).await?
                    }
                    written => written?,
                }
            };
            writing.fd = None;
            writing.written += len;
        }
        *writing = Writing::default();
        Ok(())
    }

    /// Waits until the client reads; gives up on one that reads nothing while others need room, or while
    /// the server ends.
    async fn write_in_time(&self, data: &[u8]) -> io::Result<usize> {
        tokio::select! {
            biased;
            written = self.socket.write(data) => written,
            () = self.left() => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl Saying {
    /// `held` goes before the first frame.
    pub(super) fn new(held: Vec<u8>) -> Self {
        Self {
            writing: Mutex::new(Writing::of(held, None)),
            held: Hint::default(),
        }
    }

    /// Returns what must be written, and not held.
    fn hold(&self, next: Writing) -> Option<Writing> {
        let Ok(mut writing) = self.writing.try_lock() else {
            return Some(next);
        };
        // The rest of frames that were begun goes before.
        let is_begun = writing.written > 0 || writing.fd.is_some();
        if is_begun || next.fd.is_some() || writing.frames.len() + next.frames.len() > MAX_HELD {
            return Some(next);
        }
        // Copied: a frame of output has more room than it needs.
        writing.frames.extend_from_slice(&next.frames);
        self.held.give();
        None
    }
}

impl Writing {
    fn of(frames: Vec<u8>, fd: Option<OwnedFd>) -> Self {
        let written = 0;
        Self {
            frames,
            written,
            fd,
        }
    }
}
