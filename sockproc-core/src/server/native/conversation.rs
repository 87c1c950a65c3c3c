//! What is heard from a client and said to it, while its run goes on or waits.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::SetOnce;

use super::saying::Saying;
use super::signals::Signals;
use super::stdin::{PIECE_LEN, StdinQueue};
use crate::proto::native::ServerSession;
use crate::proto::{ProtocolError, ServerEvent};
use crate::server::Common;
use crate::server::accepted::Accepted;

/// Both directions of one connection. What is said never waits for what is heard.
pub(super) struct Conversation<'a> {
    pub(super) common: &'a Common,
    pub(super) socket: Accepted,
    session: Mutex<ServerSession>,
    pub(super) saying: Saying,
    /// Set when the client has gone, or has broken the protocol: nothing more is said to it.
    gone: SetOnce<()>,
    pub(super) cancelled: SetOnce<()>,
    pub(super) stdin: StdinQueue,
    pub(super) signals: Signals,
    /// Whether a client that does not read may be left where descriptors are short.
    may_be_left: SetOnce<()>,
}

impl<'a> Conversation<'a> {
    /// `held` goes before the first frame.
    pub(super) fn new(
        common: &'a Common,
        socket: Accepted,
        session: ServerSession,
        held: Vec<u8>,
    ) -> Self {
        Self {
            common,
            socket,
            session: Mutex::new(session),
            saying: Saying::new(held),
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

    /// Resolves when it may be left, and others need the room, or the server ends.
    pub(super) async fn left(&self) {
        self.may_be_left.wait().await;
        self.common.budget.stalled_at_end().evicted().await;
    }

    /// Hears what the client says, until it has gone; never resolves.
    pub(super) async fn hear<T>(&self) -> T {
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
        std::future::pending().await
    }

    /// Sees to everything that the session has to tell. A client that breaks the protocol is told so,
    /// and taken for gone.
    pub(super) async fn see_to_events(&self) {
        let failed = self.take_events().err();
        if let Some(write) = failed.map(|error| self.fail(&error)) {
            write.await;
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
}
