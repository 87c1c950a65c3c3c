//! What is heard from a client and said to it, while its run goes on or waits.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::{Pin, pin};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, SetOnce};

use super::signals::Signals;
use super::stdin::{PIECE_LEN, StdinQueue};
use crate::proto::native::{HEADER_LEN, ServerSession};
use crate::proto::{ProtocolError, ServerEvent, Stream};
use crate::server::Common;
use crate::server::accepted::Accepted;

/// Frames are written together up to this length, and longer ones alone.
const MAX_HELD: usize = 4 * 1024;

/// Both directions of one connection. What is said never waits for what is heard.
pub(super) struct Conversation<'a> {
    pub(super) common: &'a Common,
    pub(super) socket: Accepted,
    session: Mutex<ServerSession>,
    /// Frames are written whole, one after another.
    writing: tokio::sync::Mutex<Writing>,
    /// Something waits for [`flush`](Self::flush).
    held: Notify,
    /// Set when the client has gone, or has broken the protocol: nothing more is said to it.
    gone: SetOnce<()>,
    pub(super) cancelled: SetOnce<()>,
    pub(super) stdin: StdinQueue,
    pub(super) signals: Signals,
    /// Whether a client that does not read may be left where descriptors are short.
    may_be_left: SetOnce<()>,
}

/// Frames on their way. If their writer is dropped, the next one goes on with them.
#[derive(Default)]
struct Writing {
    frames: Vec<u8>,
    written: usize,
    /// Passed with the first byte.
    fd: Option<OwnedFd>,
}

impl<'a> Conversation<'a> {
    /// `held` goes before the first frame.
    pub(super) fn new(
        common: &'a Common,
        socket: Accepted,
        session: ServerSession,
        held: Vec<u8>,
    ) -> Self {
        let writing = Writing {
            frames: held,
            ..Writing::default()
        };
        Self {
            common,
            socket,
            session: Mutex::new(session),
            writing: tokio::sync::Mutex::new(writing),
            held: Notify::new(),
            gone: SetOnce::new(),
            cancelled: SetOnce::new(),
            stdin: StdinQueue::new(),
            signals: Signals::new(),
            may_be_left: SetOnce::new(),
        }
    }

    pub(super) fn session(&self) -> MutexGuard<'_, ServerSession> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves once the client has gone.
    pub(super) async fn gone(&self) {
        self.gone.wait().await;
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.get().is_some()
    }

    /// Takes the client for gone.
    pub(super) fn give_up(&self) {
        let _ = self.gone.set(());
    }

    /// Lets a client that reads nothing be left where descriptors are short.
    pub(super) fn let_be_left(&self) {
        let _ = self.may_be_left.set(());
    }

    /// Hears what the client says, until it has gone.
    pub(super) async fn hear(&self) {
        // Some may have come with the request.
        self.see_to_events().await;
        while !self.is_gone() {
            let left = self.session().stdin_left();
            let read = if left == 0 {
                let feed = |data: &[u8]| self.session().receive_data(data);
                self.socket.receive(feed).await
            } else {
                self.hear_stdin(left).await
            };
            if !matches!(read, Ok(1..)) {
                self.session().receive_eof();
            }
            self.see_to_events().await;
        }
    }

    /// Sees to everything that the session has to tell. A client that breaks the protocol is told so,
    /// and taken for gone.
    pub(super) async fn see_to_events(&self) {
        if let Err(error) = self.take_events() {
            self.give_up();
            let last = self.session().send_failed(&error);
            let _ = Box::pin(self.write(last.to_vec(), None)).await;
        }
    }

    /// Reads and forgets what the client still sends, until it closes.
    pub(super) async fn discard(&self) {
        while matches!(self.socket.discard().await, Ok(1..)) {}
    }

    /// Reads stdin past the session.
    async fn hear_stdin(&self, left: u64) -> io::Result<usize> {
        // A piece takes memory until the last of it is in the command's pipe.
        let most = left.min(PIECE_LEN as u64);
        let mut piece = Vec::new();
        let len = self.socket.read_into(&mut piece, most).await?;
        piece.truncate(len);
        if self.session().receive_stdin(len as u64).is_ok() {
            self.stdin.push(piece);
        }
        Ok(len)
    }

    fn take_events(&self) -> Result<(), ProtocolError> {
        loop {
            let event = self.session().next_event()?;
            match event {
                Some(ServerEvent::Stdin(data)) => self.stdin.push(data.to_vec()),
                Some(ServerEvent::StdinEnd) => self.stdin.end(),
                Some(ServerEvent::Signal { number, to }) => self.signals.push(number, to),
                Some(ServerEvent::Cancel) => drop(self.cancelled.set(())),
                Some(ServerEvent::Gone) => self.give_up(),
                Some(_) => {}
                None => return Ok(()),
            }
        }
    }

    /// Says what `frame` makes of the session, `fd` with it. Nothing is said to a client that has gone.
    pub(super) async fn say(
        &self,
        frame: impl FnOnce(&mut ServerSession) -> Result<Bytes, ProtocolError>,
        fd: Option<OwnedFd>,
    ) {
        let frame = frame(&mut self.session());
        match frame {
            Ok(frame) => self.hand_over(frame.to_vec(), fd).await,
            Err(error) => tracing::debug!(%error, "not said"),
        }
    }

    /// Says the next bytes of a stream, which stand in `frame` behind room for a header.
    pub(super) async fn say_data(&self, stream: Stream, mut frame: Vec<u8>) {
        let len = frame.len() - HEADER_LEN;
        let header = self.session().send_data(stream, len);
        if let Ok(header) = header {
            frame[..HEADER_LEN].copy_from_slice(&header);
            self.hand_over(frame, None).await;
        }
    }

    /// Holds a short frame until the next [`flush`](Self::flush), or writes it.
    async fn hand_over(&self, frame: Vec<u8>, fd: Option<OwnedFd>) {
        if self.is_gone() {
            return;
        }
        if let Some((frame, fd)) = self.hold(frame, fd) {
            // On the heap: each future that says something would have room for it.
            Box::pin(self.unless_gone(pin!(self.write(frame, fd)))).await;
        }
    }

    /// Returns what must be written, and not held.
    fn hold(&self, frame: Vec<u8>, fd: Option<OwnedFd>) -> Option<(Vec<u8>, Option<OwnedFd>)> {
        let Ok(mut writing) = self.writing.try_lock() else {
            return Some((frame, fd));
        };
        // The rest of frames that were begun goes before.
        let is_begun = writing.written > 0 || writing.fd.is_some();
        if is_begun || fd.is_some() || writing.frames.len() + frame.len() > MAX_HELD {
            return Some((frame, fd));
        }
        // Copied: a frame of output has more room than it needs.
        writing.frames.extend_from_slice(&frame);
        self.held.notify_one();
        None
    }

    /// Writes what was said, whenever that comes to wait for more; never resolves. To be polled last:
    /// what is said without a pause leaves in one write, and wakes the client once.
    pub(super) async fn flush_at_pauses<T>(&self) -> T {
        loop {
            self.held.notified().await;
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
        let flush = pin!(async { self.finish(&mut *self.writing.lock().await).await });
        self.unless_gone(flush).await;
    }

    /// Writes what was said, the last of all. Who has ended its own direction may still read: it gets what
    /// its kernel takes at once.
    pub(super) async fn flush_last(&self) {
        self.flush().await;
        let writing = self.writing.lock().await;
        if let Some(rest @ [_, ..]) = writing.frames.get(writing.written..) {
            let _ = self.socket.try_write(rest);
        }
    }

    async fn unless_gone(&self, written: Pin<&mut impl Future<Output = io::Result<()>>>) {
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

    /// Writes a frame.
    async fn write(&self, frame: Vec<u8>, fd: Option<OwnedFd>) -> io::Result<()> {
        let mut writing = self.writing.lock().await;
        self.finish(&mut writing).await?;
        *writing = Writing {
            frames: frame,
            written: 0,
            fd,
        };
        self.finish(&mut writing).await
    }

    /// Writes what is left of the frames.
    async fn finish(&self, writing: &mut Writing) -> io::Result<()> {
        while writing.written < writing.frames.len() {
            let rest = &writing.frames[writing.written..];
            // What waits is on the heap: most writes do not.
            let len = if let Some(fd) = &writing.fd {
                Box::pin(self.socket.write_with(rest, fd.as_fd())).await?
            } else {
                match self.socket.try_write(rest) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        Box::pin(self.write_in_time(rest)).await?
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
        let left = async {
            self.may_be_left.wait().await;
            self.common.budget.stalled_at_end().evicted().await;
        };
        tokio::select! {
            biased;
            written = self.socket.write(data) => written,
            () = left => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}
