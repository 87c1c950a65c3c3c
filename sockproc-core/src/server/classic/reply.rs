//! The end of a classic exchange: the reply, and a close that loses no byte of it.

use std::io;
use std::time::Duration;

use tokio::time::timeout;
use tracing::warn;

use super::Exchange;
use super::outputs::Outputs;
use super::spill::limits::Full;
use super::spool::{Pieces, Spool};
use crate::proto::classic::note;
use crate::proto::{Refusal, RefusalKind, WaitStatus};
use crate::server::peer::Peer;

/// Replies up to this length leave in one piece.
const SMALL_REPLY_LEN: usize = 64 * 1024;

/// After the reply a client has so much time to close, or to go on with stdin that it has announced.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// A client that sends more than this past what it announced is cut off.
const MAX_DISCARD_LEN: u64 = 64 * 1024 * 1024;

/// A server that ends leaves a client that reads nothing of its reply for so long.
const MAX_UNREAD: Duration = Duration::from_secs(5);

impl Exchange<'_> {
    pub(super) async fn reply(&self, status: WaitStatus, mut outputs: Outputs) -> io::Result<()> {
        if let Some(error) = &outputs.cut {
            warn!(id = self.id, %error, "output cut, command killed");
            outputs.stderr.push_note(&note(&cut_message(error)));
        }
        let Outputs { stdout, stderr, .. } = outputs;
        let head = self.session.send_exited(status, stdout.len());
        let middle = self.session.send_stderr_len(stderr.len());
        let parts = [(&head[..], &stdout), (&middle[..], &stderr)];
        if let Some(whole) = Spool::join(parts, SMALL_REPLY_LEN) {
            drop((stdout, stderr));
            return Box::pin(self.send_while_discarding(self.write(&whole.data))).await;
        }
        let (mut stdout, mut stderr) = (stdout.into_pieces(), stderr.into_pieces());
        let send = async {
            self.write(&head).await?;
            self.write_all(&mut stdout, stderr.are_spilled()).await?;
            self.write(&middle).await?;
            self.write_all(&mut stderr, false).await
        };
        // Only a connection that has come so far takes the memory for this.
        Box::pin(self.send_while_discarding(send)).await
    }

    pub(super) async fn cannot_spawn(&self, message: String) -> io::Result<()> {
        self.refuse(&Refusal::new(RefusalKind::CannotSpawn, message))
            .await
    }

    pub(super) async fn refuse(&self, refusal: &Refusal) -> io::Result<()> {
        let (peer, kind, reason) = (Peer(&self.socket), refusal.kind, &refusal.message);
        warn!(id = self.id, %peer, ?kind, reason, "refused");
        let reply = self.session.send_refused(refusal);
        Box::pin(self.send_while_discarding(self.write(&reply))).await
    }

    /// Ends our direction and waits for the client to end its own: a close with unread bytes would
    /// reset the connection, and on TCP the reply with it.
    pub(super) async fn see_off(&self) {
        self.socket.half_close();
        let idle = self.common.budget.waiting();
        tokio::select! {
            () = self.discard_rest() => {}
            () = idle.evicted() => {}
            () = self.common.shutdown.leaving(CLOSE_PATIENCE) => {}
            () = self.common.shutdown.killing() => {}
        }
    }

    /// Writes all of a stream; `are_more_spilled` if the spill file holds some of the other one.
    async fn write_all(&self, pieces: &mut Pieces, are_more_spilled: bool) -> io::Result<()> {
        while pieces.read_next().await? {
            let is_spilled = are_more_spilled || pieces.are_spilled();
            self.write_piece(pieces.piece(), is_spilled).await?;
        }
        Ok(())
    }

    async fn write(&self, data: &[u8]) -> io::Result<()> {
        self.write_piece(data, false).await
    }

    /// Writes a piece of the reply; gives up on a client that reads nothing while others need room, or
    /// while the server ends.
    async fn write_piece(&self, mut data: &[u8], is_spilled: bool) -> io::Result<()> {
        while !data.is_empty() {
            match self.socket.try_write(data) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => {
                    data = &data[written?..];
                    continue;
                }
            }
            let stalled = if is_spilled {
                self.common.budget.stalled_with_spill()
            } else {
                self.common.budget.stalled()
            };
            let untaken = self.socket.untaken();
            tokio::select! {
                biased;
                written = self.socket.write(data) => data = &data[written?..],
                () = async {
                    tokio::select! {
                        () = stalled.evicted() => {}
                        () = self.common.shutdown.leaving(MAX_UNREAD) => {}
                    }
                } => {
                    // The kernel takes more only when much of what it has is gone. A slow client that
                    // reads steadily has begun to wait anew all the same.
                    if self.socket.untaken() == untaken || self.common.shutdown.is_hurrying() {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
            }
        }
        Ok(())
    }

    /// Sends while what the client still sends is thrown away: it may read only when it has sent all.
    async fn send_while_discarding(
        &self,
        send: impl Future<Output = io::Result<()>>,
    ) -> io::Result<()> {
        let discard = async {
            let mut left = self.session.stdin_left().saturating_add(MAX_DISCARD_LEN);
            self.discard(&mut left, Duration::MAX).await;
            std::future::pending().await
        };
        tokio::select! {
            biased;
            sent = send => sent,
            never = discard => never,
        }
    }

    /// Reads and forgets what the client still sends after its reply: stdin that it has announced, until
    /// it is silent for [`CLOSE_PATIENCE`]; then for so long what it has not announced.
    async fn discard_rest(&self) {
        let mut announced = self.session.stdin_left();
        if self.discard(&mut announced, CLOSE_PATIENCE).await {
            let mut left = MAX_DISCARD_LEN;
            let _ = timeout(CLOSE_PATIENCE, self.discard(&mut left, CLOSE_PATIENCE)).await;
        }
    }

    /// Reads and forgets `left` bytes; returns whether it came to that before end of file or `silence`
    /// from byte to byte.
    async fn discard(&self, left: &mut u64, silence: Duration) -> bool {
        while *left > 0 {
            match timeout(silence, self.socket.discard()).await {
                Ok(Ok(len @ 1..)) => *left = left.saturating_sub(len as u64),
                _ => return false,
            }
        }
        true
    }
}

fn cut_message(error: &io::Error) -> String {
    match (Full::of(error), error.kind()) {
        (Some(full), _) => format!("killed: {full}"),
        (_, io::ErrorKind::OutOfMemory) => "killed: no memory for its output".to_owned(),
        _ => format!("killed: output cannot be kept in the spill directory: {error}"),
    }
}
