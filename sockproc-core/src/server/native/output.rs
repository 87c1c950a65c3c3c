//! One output stream of a native run: into frames as it comes, and counted.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::conversation::Conversation;
use super::supervise::Why;
use crate::process::pump::Sink;
use crate::proto::native::{HEADER_LEN, ServerSession};
use crate::proto::{EndedBy, Exit, Limits, Moved, PastMax, Stream};
use crate::server::completion::{Output, Stop};

/// What is read at once of a stream that writes little. A client that stops reading leaves as much here.
const SHORT_LEN: usize = 4 * 1024;

/// What is read at once of one that writes much.
const BULK_LEN: usize = 124 * 1024;

/// This many streams at a time may have such a buffer.
const MAX_BULK: usize = 8;

/// The large buffers of all runs; clones share them.
#[derive(Clone)]
pub(crate) struct BulkBuffers(Arc<Semaphore>);

impl BulkBuffers {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(MAX_BULK)))
    }
}

/// What both streams of a run have in common.
pub(super) struct Tally<'a> {
    limits: &'a Limits,
    stop: &'a Stop<Why>,
    /// Bytes of both streams.
    len: AtomicU64,
    moved: Mutex<Exit>,
}

impl<'a> Tally<'a> {
    pub(super) fn new(limits: &'a Limits, stop: &'a Stop<Why>) -> Self {
        Self {
            limits,
            stop,
            len: AtomicU64::new(0),
            moved: Mutex::default(),
        }
    }

    pub(super) fn moved(&self) -> (Moved, Moved) {
        let moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        (moved.stdout, moved.stderr)
    }

    /// Counts `len` bytes of a stream; returns how many of these the client gets.
    fn count(&self, stream: Stream, len: usize) -> usize {
        let before = self.len.fetch_add(len as u64, Relaxed);
        let max = self.limits.max_output.unwrap_or(u64::MAX);
        let left = usize::try_from(max.saturating_sub(before)).unwrap_or(usize::MAX);
        let kept = left.min(len);
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        let moved = moved.moved_mut(stream);
        moved.bytes += len as u64;
        moved.cut += (len - kept) as u64;
        if kept < len && self.limits.past_max == PastMax::Kill {
            self.stop.stop(Why::Said(EndedBy::OutputLimit));
        }
        kept
    }
}

/// One stream on its way into frames.
pub(super) struct Frames<'a> {
    conversation: &'a Conversation<'a>,
    tally: &'a Tally<'a>,
    stream: Stream,
    /// Room for a header, and what was read.
    buffer: Vec<u8>,
    bulk: Option<OwnedSemaphorePermit>,
    has_ended: bool,
}

impl<'a> Frames<'a> {
    pub(super) fn new(
        conversation: &'a Conversation<'a>,
        tally: &'a Tally<'a>,
        stream: Stream,
        is_piped: bool,
    ) -> Self {
        Self {
            conversation,
            tally,
            stream,
            buffer: Vec::new(),
            bulk: None,
            has_ended: !is_piped,
        }
    }

    /// Tells the end of the stream, unless it was told.
    pub(super) async fn finish(&mut self) {
        if !std::mem::replace(&mut self.has_ended, true) {
            let stream = self.stream;
            let end = |session: &mut ServerSession| session.send_end(stream);
            self.conversation.say(end, None).await;
        }
    }
}

impl Sink for Frames<'_> {
    fn buffer(&mut self) -> io::Result<&mut Vec<u8>> {
        if self.buffer.capacity() == 0 {
            let len = match self.bulk {
                Some(_) => BULK_LEN,
                None => SHORT_LEN,
            };
            let refused = |_| io::Error::from(io::ErrorKind::OutOfMemory);
            let buffer = &mut self.buffer;
            buffer
                .try_reserve_exact(HEADER_LEN + len)
                .map_err(refused)?;
            buffer.resize(HEADER_LEN, 0);
        }
        Ok(&mut self.buffer)
    }

    async fn make_room(&mut self) -> io::Result<()> {
        let mut frame = std::mem::take(&mut self.buffer);
        let is_full = frame.len() == frame.capacity();
        let kept = self.tally.count(self.stream, frame.len() - HEADER_LEN);
        frame.truncate(HEADER_LEN + kept);
        if kept > 0 {
            self.conversation.say_data(self.stream, frame).await;
        }
        if !is_full {
            self.bulk = None;
        } else if self.bulk.is_none() {
            let buffers = &self.conversation.common.bulk_buffers;
            self.bulk = buffers.0.clone().try_acquire_owned().ok();
        }
        Ok(())
    }
}

impl Output for Frames<'_> {
    async fn end(&mut self) {
        self.finish().await;
    }

    /// There is no memory: the client learns that from the end of the connection.
    fn fail(&mut self, error: io::Error) {
        tracing::warn!(%error, "cannot read output");
        self.conversation.give_up();
        self.tally.stop.stop(Why::Gone);
    }

    fn has_failed(&self) -> bool {
        false
    }
}
