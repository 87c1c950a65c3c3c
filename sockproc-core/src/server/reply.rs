//! The end of a classic exchange: the reply, and a close that loses none of it.

use std::io;
use std::time::Duration;

use tokio::time::timeout;
use tracing::warn;

use super::classic::Exchange;
use super::outputs::Outputs;
use super::peer::Peer;
use super::spool::Pieces;
use crate::proto::classic::note;
use crate::proto::{Refusal, RefusalKind, WaitStatus};

/// Replies up to so many bytes leave in one piece.
const SMALL_REPLY_LEN: u64 = 64 * 1024;

/// After the reply a client has so much time from byte to byte to close.
const LINGER: Duration = Duration::from_secs(2);

/// A client that sends more than this past what it announced is cut off.
const MAX_DISCARD_LEN: u64 = 64 * 1024 * 1024;

/// What is thrown away is read in pieces of so many bytes.
const DISCARD_READ_LEN: usize = 4096;

impl Exchange<'_> {
    pub(super) async fn reply(&self, status: WaitStatus, mut outputs: Outputs) -> io::Result<()> {
        if let Some(error) = &outputs.cut {
            warn!(id = self.id, %error, "output cut, command killed");
            outputs.stderr.push_note(&note(&cut_message(error)));
        }
        let Outputs { stdout, stderr, .. } = outputs;
        let head = self.session.send_exited(status, stdout.len());
        let middle = self.session.send_stderr_len(stderr.len());
        let send = async {
            match (stdout.in_memory(), stderr.in_memory()) {
                (Some(out), Some(err)) if stdout.len() + stderr.len() <= SMALL_REPLY_LEN => {
                    self.write(&[&head[..], out, &middle[..], err].concat())
                        .await
                }
                _ => {
                    self.write(&head).await?;
                    self.write_all(stdout.into_pieces()).await?;
                    self.write(&middle).await?;
                    self.write_all(stderr.into_pieces()).await
                }
            }
        };
        self.send_while_discarding(send).await
    }

    pub(super) async fn cannot_spawn(&self, message: String) -> io::Result<()> {
        self.refuse(&Refusal::new(RefusalKind::CannotSpawn, message))
            .await
    }

    pub(super) async fn refuse(&self, refusal: &Refusal) -> io::Result<()> {
        let (peer, kind, reason) = (Peer(&self.socket), refusal.kind, &refusal.message);
        warn!(id = self.id, %peer, ?kind, reason, "refused");
        let reply = self.session.send_refused(refusal);
        self.send_while_discarding(self.write(&reply)).await
    }

    /// Ends our direction and waits for the client to end its own: a close with unread bytes would
    /// reset the connection, and on TCP the reply with it.
    pub(super) async fn linger(&self) {
        self.socket.half_close();
        let idle = self.shared.budget.waiting();
        tokio::select! {
            () = self.discard(LINGER) => {}
            () = idle.evicted() => {}
            () = self.shared.shutdown.killing() => {}
        }
    }

    async fn write_all(&self, mut pieces: Pieces) -> io::Result<()> {
        while let Some(piece) = pieces.next().await? {
            self.write(piece).await?;
        }
        Ok(())
    }

    /// Writes a piece of the reply; gives up on a client that reads nothing while others need room.
    async fn write(&self, data: &[u8]) -> io::Result<()> {
        let stalled = self.shared.budget.stalled();
        tokio::select! {
            biased;
            written = self.socket.write_all(data) => written,
            () = stalled.evicted() => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Sends while what the client still sends is thrown away: it may read only when it has sent all.
    async fn send_while_discarding(
        &self,
        send: impl Future<Output = io::Result<()>>,
    ) -> io::Result<()> {
        let discard = async {
            self.discard(Duration::MAX).await;
            std::future::pending().await
        };
        tokio::select! {
            biased;
            sent = send => sent,
            never = discard => never,
        }
    }

    /// Reads and forgets until end of file, `silence` from byte to byte or [`MAX_DISCARD_LEN`].
    async fn discard(&self, silence: Duration) {
        let mut chunk = [0; DISCARD_READ_LEN];
        let mut left = self.session.stdin_left().saturating_add(MAX_DISCARD_LEN);
        while let Ok(Ok(len @ 1..)) = timeout(silence, self.socket.read(&mut chunk)).await {
            left = left.saturating_sub(len as u64);
            if left == 0 {
                return;
            }
        }
    }
}

fn cut_message(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::QuotaExceeded => "killed: more output than --max-spill allows".to_owned(),
        _ => format!("killed: output cannot be kept in the spill directory: {error}"),
    }
}
