//! One classic exchange: request, run, reply.

use std::io;
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;
use tracing::{debug, info, warn};

use super::Shared;
use super::budget::RunPermit;
use super::config::OnDisconnect;
use super::outputs::{self, Outputs, Rules};
use super::peer::Peer;
use super::socket::{Socket, Transport};
use super::spool::Allowance;
use super::stdin::{self, Feed, StdinEnd};
use crate::process::{Leader, Pipe, Process};
use crate::proto::classic::{ServerSession, note};
use crate::proto::{ProtocolError, Refusal, RefusalKind, Request, ServerEvent, WaitStatus};

/// Requests are mostly one line; a longer one takes some more reads.
const HEAD_READ_LEN: usize = 4096;

/// Replies up to so many bytes leave in one piece.
const SMALL_REPLY_LEN: u64 = 64 * 1024;

/// After the reply a client has so much time from byte to byte to close.
const LINGER: Duration = Duration::from_secs(2);

/// A client that sends more than this past what it announced is cut off.
const MAX_DISCARD_LEN: u64 = 64 * 1024 * 1024;

/// A connection on its way through its one exchange.
pub(crate) struct Exchange<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) socket: Socket,
    session: ServerSession,
    id: u64,
}

/// What came of waiting for a request.
enum Opening {
    Run(Request),
    Refused(Refusal),
    /// There is nobody to answer, or nothing to answer to.
    Gone,
}

impl<'a> Exchange<'a> {
    pub(crate) fn new(shared: &'a Shared, socket: Socket, id: u64) -> Self {
        let session = match socket.transport() {
            Transport::Unix => ServerSession::new(),
            Transport::Tcp => ServerSession::new().refuse_http(),
        };
        Self {
            shared,
            socket,
            session,
            id,
        }
    }

    /// Answers one request. Returns when the connection can be closed.
    pub(crate) async fn serve(mut self) {
        let answered = match self.open().await {
            Opening::Run(request) => {
                let permit = self.shared.budget.run().await;
                self.run(request, permit).await
            }
            Opening::Refused(refusal) => self.refuse(&refusal).await,
            Opening::Gone => {
                return debug!(id = self.id, "client gone before its request was whole");
            }
        };
        match answered {
            Ok(()) => self.linger().await,
            Err(error) => debug!(id = self.id, %error, "client gone before its answer was sent"),
        }
    }

    /// Reads until the command can be started.
    async fn open(&mut self) -> Opening {
        let mut chunk = [0; HEAD_READ_LEN];
        loop {
            match self.session.next_event() {
                Ok(Some(ServerEvent::Run(request))) => return Opening::Run(request),
                Ok(_) => {}
                Err(error) => return Opening::Refused(bad_request(&error)),
            }
            let idle = self.shared.budget.idle();
            let read = tokio::select! {
                biased;
                read = self.socket.read(&mut chunk) => read,
                () = idle.evicted() => return Opening::Gone,
                () = self.shared.shutdown.draining() => return Opening::Gone,
            };
            match read {
                Ok(0) if !self.socket.is_hung_up() => self.session.receive_eof(),
                Ok(len @ 1..) => self.session.receive_data(&chunk[..len]),
                Ok(0) | Err(_) => return Opening::Gone,
            }
        }
    }

    /// Runs the command and sends its reply.
    async fn run(&mut self, request: Request, mut permit: RunPermit) -> io::Result<()> {
        let begin = Instant::now();
        let spawned = {
            let _room = self.shared.budget.spawn().await;
            Process::spawn(&self.shared.spawner, &request.command).await
        };
        let Process {
            leader,
            stdin,
            stdout,
            stderr,
        } = match spawned {
            Ok(process) => process,
            Err(error) => return self.cannot_spawn(format!("cannot spawn: {error}")).await,
        };
        let pid = leader.pid();
        info!(id = self.id, peer = %Peer(&self.socket), pid, "started");
        let outputs = outputs::collect(&leader, stdout, stderr, self.rules());
        let outputs = self
            .until_over(&leader, stdin, permit.take_stdin(), outputs)
            .await;
        let status = leader.reap().await;
        drop(permit);
        let ms = begin.elapsed().as_millis();
        match (outputs, status) {
            (Some(outputs), Ok(status)) => {
                info!(id = self.id, pid, ms, %status, "exited");
                self.reply(status, outputs).await
            }
            (Some(_), Err(error)) => {
                warn!(id = self.id, pid, ms, %error, "wait status lost");
                self.cannot_spawn(format!("the wait status is lost: {error}"))
                    .await
            }
            (None, _) => {
                info!(id = self.id, pid, ms, "killed, its client has gone");
                Err(io::ErrorKind::ConnectionAborted.into())
            }
        }
    }

    fn rules(&self) -> Rules<'a> {
        let config = &self.shared.config;
        Rules {
            allowance: Allowance::new(self.shared.spill.clone(), config.max_spill),
            linger: config.classic_linger,
            kill_grace: config.kill_grace,
            shutdown: &self.shared.shutdown,
        }
    }

    /// Feeds stdin while `outputs` are collected; `None` when the client went and the run is not to
    /// be answered.
    async fn until_over(
        &mut self,
        leader: &Leader,
        stdin: Pipe,
        permit: Option<OwnedSemaphorePermit>,
        outputs: impl Future<Output = Outputs>,
    ) -> Option<Outputs> {
        let (socket, config) = (&self.socket, &self.shared.config);
        let (open, stdin_closed) = stdin::Open::new(stdin, permit);
        let feed = Feed::new(socket, &mut self.session, leader.group(), open);
        let gone = async {
            if feed.run().await == StdinEnd::Gone {
                return;
            }
            match config.classic_on_disconnect {
                OnDisconnect::Finish => std::future::pending().await,
                OnDisconnect::Kill => {
                    socket.hung_up().await;
                    leader.terminate(config.kill_grace).await;
                }
            }
        };
        let over = async {
            let outputs = outputs.await;
            if outputs.at_end {
                // Whom the command left behind with its stdin gets all of it.
                tokio::select! {
                    _ = stdin_closed => {}
                    () = self.shared.shutdown.killing() => {}
                }
            }
            outputs
        };
        tokio::select! {
            biased;
            () = gone => None,
            outputs = over => Some(outputs),
        }
    }

    async fn reply(&self, status: WaitStatus, mut outputs: Outputs) -> io::Result<()> {
        if let Some(error) = &outputs.cut {
            warn!(id = self.id, %error, "output cut, command killed");
            let message = match error.kind() {
                io::ErrorKind::QuotaExceeded => {
                    "killed: more output than --max-spill allows".to_owned()
                }
                _ => format!("killed: output cannot be kept in the spill directory: {error}"),
            };
            outputs.stderr.push_note(&note(&message));
        }
        let Outputs { stdout, stderr, .. } = outputs;
        let head = self.session.send_exited(status, stdout.len());
        let middle = self.session.send_stderr_len(stderr.len());
        let send = async {
            match (stdout.in_memory(), stderr.in_memory()) {
                (Some(out), Some(err)) if stdout.len() + stderr.len() <= SMALL_REPLY_LEN => {
                    self.socket
                        .write_all(&[&head[..], out, &middle[..], err].concat())
                        .await
                }
                _ => {
                    self.socket.write_all(&head).await?;
                    stdout.send(&self.socket).await?;
                    self.socket.write_all(&middle).await?;
                    stderr.send(&self.socket).await
                }
            }
        };
        self.send_while_discarding(send).await
    }

    async fn cannot_spawn(&self, message: String) -> io::Result<()> {
        self.refuse(&Refusal::new(RefusalKind::CannotSpawn, message))
            .await
    }

    async fn refuse(&self, refusal: &Refusal) -> io::Result<()> {
        warn!(id = self.id, peer = %Peer(&self.socket), kind = ?refusal.kind, reason = refusal.message, "refused");
        let reply = self.session.send_refused(refusal);
        self.send_while_discarding(self.socket.write_all(&reply))
            .await
    }

    /// Sends while what the client still sends is thrown away: it may read only when it has sent all.
    async fn send_while_discarding(
        &self,
        send: impl Future<Output = io::Result<()>>,
    ) -> io::Result<()> {
        let discard = async {
            self.discard().await;
            std::future::pending().await
        };
        tokio::select! {
            biased;
            sent = send => sent,
            never = discard => never,
        }
    }

    /// Ends our direction and waits for the client to end its own: a close with unread bytes would
    /// reset the connection, and on TCP the reply with it.
    async fn linger(&self) {
        self.socket.half_close();
        let idle = self.shared.budget.idle();
        tokio::select! {
            biased;
            () = self.discard() => {}
            () = idle.evicted() => {}
            () = self.shared.shutdown.draining() => {}
        }
    }

    /// Reads and forgets until end of file, silence or [`MAX_DISCARD_LEN`].
    async fn discard(&self) {
        let mut chunk = [0; HEAD_READ_LEN];
        let mut left = self.session.stdin_left().saturating_add(MAX_DISCARD_LEN);
        while let Ok(Ok(len @ 1..)) =
            tokio::time::timeout(LINGER, self.socket.read(&mut chunk)).await
        {
            left = left.saturating_sub(len as u64);
            if left == 0 {
                return;
            }
        }
    }
}

fn bad_request(error: &ProtocolError) -> Refusal {
    Refusal::new(RefusalKind::BadRequest, error)
}
