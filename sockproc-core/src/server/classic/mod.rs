//! One classic exchange: request, run, reply.

pub(super) mod memory;
mod outputs;
mod reply;
pub(super) mod spill;
mod spool;
mod stdin;

use std::io;
use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;
use tracing::{debug, info, warn};

use super::Common;
use super::accepted::{Accepted, Transport};
use super::budget::RunPermit;
use super::budget::eviction::IdleGuard;
use super::completion::{Rules, Stop};
use super::peer::Peer;
use super::run;
use crate::process::{Leader, Pipe, Process, Reaped};
use crate::proto::classic::{ServerSession, note};
use crate::proto::{OnDisconnect, Refusal, RefusalKind, Request, ServerEvent};
use outputs::{Outputs, Reason, collect};
use spill::limits::Allowance;
use spill::room::Room;
use stdin::{Feed, StdinEnd};

/// What a client is told that had to give way, see
/// [`MIN_STALLED`](super::budget::eviction::MIN_STALLED).
const HELD_BACK: &str = "killed: no stdin came for 10 s while descriptors were short";

/// What every classic client is told by a server that wants a token.
const NO_TOKEN: &str =
    "this server wants a token, which the classic protocol cannot carry: speak native";

/// A connection on its way through its one exchange.
struct Exchange<'a> {
    common: &'a Common,
    socket: Accepted,
    session: ServerSession,
    id: u64,
}

/// What came of waiting for a request.
enum Asked {
    Run(Box<Request>),
    Refused(Refusal),
    /// There is no one to answer, or nothing to answer to.
    Gone,
}

/// Answers one request, which begins with `first`. Returns when the connection can be closed.
pub(crate) async fn serve(
    common: &Common,
    socket: Accepted,
    id: u64,
    idle: IdleGuard<'_>,
    first: Vec<u8>,
) {
    let mut session = match socket.transport() {
        Transport::Unix => ServerSession::new(),
        Transport::Tcp => ServerSession::new().refuse_http(),
    };
    session.receive_data(&first);
    drop(first);
    let asked = listen(common, &socket, &mut session, &idle).await;
    drop(idle);
    let exchange = Exchange {
        common,
        socket,
        session,
        id,
    };
    match asked {
        // On the heap, so that a connection that only waits takes less memory.
        Asked::Run(request) => Box::pin(exchange.answer(request)).await,
        Asked::Refused(refusal) => Box::pin(exchange.answer_no(&refusal)).await,
        Asked::Gone => debug!(id, "client gone before its request was whole"),
    }
}

/// Reads until the command can be started.
async fn listen(
    common: &Common,
    socket: &Accepted,
    session: &mut ServerSession,
    idle: &IdleGuard<'_>,
) -> Asked {
    loop {
        match session.next_event() {
            Ok(Some(ServerEvent::Run(_))) if common.config.token.is_some() => {
                return Asked::Refused(Refusal::new(RefusalKind::Policy, NO_TOKEN));
            }
            Ok(Some(ServerEvent::Run(request))) => return Asked::Run(request),
            Ok(_) => {}
            Err(error) => return Asked::Refused(Refusal::new(RefusalKind::BadRequest, error)),
        }
        let read = tokio::select! {
            biased;
            read = socket.receive(|data| session.receive_data(data)) => read,
            () = idle.evicted() => return Asked::Gone,
            () = common.shutdown.draining() => return Asked::Gone,
        };
        match read {
            Ok(0) if !socket.is_hung_up() => session.receive_eof(),
            Ok(1..) => {}
            Ok(0) | Err(_) => return Asked::Gone,
        }
    }
}

impl<'a> Exchange<'a> {
    /// Runs the command and answers. Returns when the connection can be closed.
    async fn answer(mut self, request: Box<Request>) {
        let answered = self.run_when_there_is_room(request).await;
        self.close(answered).await;
    }

    /// Answers what cannot be run. Returns when the connection can be closed.
    async fn answer_no(self, refusal: &Refusal) {
        let answered = self.refuse(refusal).await;
        self.close(answered).await;
    }

    async fn close(&self, answered: io::Result<()>) {
        match answered {
            Ok(()) => Box::pin(self.see_off()).await,
            Err(error) => debug!(id = self.id, %error, "client gone before its answer was sent"),
        }
    }

    async fn run_when_there_is_room(&mut self, request: Box<Request>) -> io::Result<()> {
        tokio::select! {
            biased;
            () = self.common.shutdown.killing() => self.refuse(&run::NotStarted::ShuttingDown.into()).await,
            () = self.given_up() => Err(io::ErrorKind::ConnectionAborted.into()),
            permit = self.common.budget.run() => self.run(request, permit).await,
        }
    }

    /// Resolves when the client has gone and its run is not to go on: its request is cut, or the server
    /// is told to end what its clients give up.
    async fn given_up(&self) {
        match self.common.config.classic_on_disconnect {
            OnDisconnect::Kill => self.socket.hung_up().await,
            OnDisconnect::Finish => self.socket.gone_before(self.session.stdin_missing()).await,
        }
    }

    /// Runs the command and sends its reply.
    async fn run(&mut self, request: Box<Request>, permit: RunPermit) -> io::Result<()> {
        match run::start(self.common, &request, Vec::new()).await {
            Ok(process) => Box::pin(self.supervise(process, permit)).await,
            Err(reason) => self.refuse(&reason.into()).await,
        }
    }

    /// Owns a command until it is reaped, and sends its reply.
    async fn supervise(&mut self, process: Process, mut permit: RunPermit) -> io::Result<()> {
        let Process {
            leader,
            stdin,
            stdout,
            stderr,
        } = process;
        let (begin, pid) = (Instant::now(), leader.pid());
        info!(id = self.id, peer = %Peer(&self.socket), pid, "started");
        let (stop, room) = (Stop::new(), self.room());
        let rules = self.rules(&stop);
        // Boxed, as a future that is handed on takes its room at every step.
        let outputs = Box::pin(collect(&leader, [stdout, stderr], &room, &rules));
        let mut outputs = self
            .until_over(&leader, stdin, permit.take_stdin(), outputs, &stop)
            .await;
        if let (Some(outputs), Some(Reason::HeldBack)) = (&mut outputs, stop.reason()) {
            outputs.stderr.push_note(&note(HELD_BACK));
        }
        if outputs.as_ref().is_some_and(|outputs| outputs.unkillable) {
            run::leave(leader, permit);
            return self
                .cannot_spawn("killed, but it lives on: wait status unknown".into())
                .await;
        }
        let reaped = run::reap(leader, permit).await;
        self.reply_how_it_ended(outputs, reaped, pid, begin.elapsed())
            .await
    }

    async fn reply_how_it_ended(
        &self,
        outputs: Option<Outputs>,
        reaped: io::Result<Reaped>,
        pid: i32,
        elapsed: Duration,
    ) -> io::Result<()> {
        let ms = elapsed.as_millis();
        match (outputs, reaped) {
            (Some(outputs), Ok(reaped)) => {
                let Reaped {
                    status,
                    user,
                    system,
                } = reaped;
                info!(id = self.id, pid, ms, ?user, ?system, %status, "exited");
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

    fn room(&self) -> Room<'a> {
        let Common {
            config,
            budget,
            memory,
            spill,
            shutdown,
            ..
        } = self.common;
        Room {
            allowance: Allowance::new(memory, spill, config.max_spill),
            budget,
            shutdown,
        }
    }

    fn rules<'b>(&self, stop: &'b Stop<Reason>) -> Rules<'b, Reason>
    where
        'a: 'b,
    {
        Rules {
            linger: self.common.config.classic_linger,
            grace: self.common.config.kill_grace,
            shutdown: &self.common.shutdown,
            stop,
        }
    }

    /// Feeds stdin while `outputs` are collected; `None` when the client went and the run is not to
    /// be answered.
    async fn until_over(
        &mut self,
        leader: &Leader,
        stdin: Option<Pipe>,
        permit: Option<OwnedSemaphorePermit>,
        outputs: impl Future<Output = Outputs>,
        stop: &Stop<Reason>,
    ) -> Option<Outputs> {
        let (socket, config) = (&self.socket, &self.common.config);
        let guard = self.common.spawner.stdin_guard().clone();
        let (open, stdin_closed) = stdin::Open::new(stdin, guard, permit);
        let feed = Feed::new(socket, &mut self.session, &self.common.budget, leader, open);
        let given_up = async {
            match config.classic_on_disconnect {
                OnDisconnect::Finish => std::future::pending().await,
                OnDisconnect::Kill => socket.hung_up().await,
            }
        };
        let gone = async {
            // The feed holds the command's stdin open until the tree has ended.
            let (mut fed, mut given_up) = (pin!(feed.run()), pin!(given_up));
            let end = tokio::select! {
                biased;
                end = &mut fed => Some(end),
                () = &mut given_up => None,
            };
            match end {
                Some(StdinEnd::Gone) => return,
                Some(StdinEnd::HeldBack) => {
                    stop.stop(Reason::HeldBack);
                    std::future::pending().await
                }
                Some(StdinEnd::Whole) => given_up.await,
                None => {}
            }
            leader.terminate(config.kill_grace).await;
        };
        let over = async {
            let outputs = outputs.await;
            if outputs.at_end {
                // What the command left behind may still read its stdin: it gets all of it.
                tokio::select! {
                    _ = stdin_closed => {}
                    () = self.common.shutdown.killing() => {}
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
}
