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
use super::peer::Peer;
use crate::process::{Leader, Pipe, Process, is_short_of_descriptors};
use crate::proto::classic::{ServerSession, note};
use crate::proto::{
    OnDisconnect, ProtocolError, Refusal, RefusalKind, Request, ServerEvent, WaitStatus,
};
use outputs::{Outputs, Rules, Stop};
use spill::limits::Allowance;
use spill::room::Room;
use stdin::{Feed, StdinEnd};

/// What a client is told that had to give way, see [`MIN_STALLED`](super::budget::eviction::MIN_STALLED).
const HELD_BACK: &str = "killed: no stdin came for 10 s while descriptors were short";

/// A connection on its way through its one exchange.
pub(crate) struct Exchange<'a> {
    pub(super) common: &'a Common,
    pub(super) socket: Accepted,
    pub(super) session: ServerSession,
    pub(super) id: u64,
}

/// What came of waiting for a request.
enum Opening {
    Run(Box<Request>),
    Refused(Refusal),
    /// There is nobody to answer, or nothing to answer to.
    Gone,
}

impl<'a> Exchange<'a> {
    pub(crate) fn new(common: &'a Common, socket: Accepted, id: u64) -> Self {
        let session = match socket.transport() {
            Transport::Unix => ServerSession::new(),
            Transport::Tcp => ServerSession::new().refuse_http(),
        };
        Self {
            common,
            socket,
            session,
            id,
        }
    }

    /// Answers one request. Returns when the connection can be closed.
    pub(crate) async fn serve(mut self) {
        let answered = match self.open().await {
            // On the heap, so that a connection that only waits takes less memory.
            Opening::Run(request) => Box::pin(self.run_when_there_is_room(request)).await,
            Opening::Refused(refusal) => self.refuse(&refusal).await,
            Opening::Gone => {
                return debug!(id = self.id, "client gone before its request was whole");
            }
        };
        match answered {
            Ok(()) => Box::pin(self.see_off()).await,
            Err(error) => debug!(id = self.id, %error, "client gone before its answer was sent"),
        }
    }

    /// Reads until the command can be started.
    async fn open(&mut self) -> Opening {
        // From its first moment on: single bytes now and then keep no connection alive.
        let idle = self.common.budget.waiting();
        loop {
            match self.session.next_event() {
                Ok(Some(ServerEvent::Run(request))) => return Opening::Run(request),
                Ok(_) => {}
                Err(error) => return Opening::Refused(bad_request(&error)),
            }
            let read = tokio::select! {
                biased;
                read = self.socket.receive(|data| self.session.receive_data(data)) => read,
                () = idle.evicted() => return Opening::Gone,
                () = self.common.shutdown.draining() => return Opening::Gone,
            };
            match read {
                Ok(0) if !self.socket.is_hung_up() => self.session.receive_eof(),
                Ok(1..) => {}
                Ok(0) | Err(_) => return Opening::Gone,
            }
        }
    }

    async fn run_when_there_is_room(&mut self, request: Box<Request>) -> io::Result<()> {
        tokio::select! {
            biased;
            () = self.common.shutdown.killing() => self.refuse(&shutting_down()).await,
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
        let spawned = {
            let _room = self.common.budget.spawn().await;
            // The room may be that of a command which has been killed.
            if self.common.shutdown.is_killing() {
                return self.refuse(&shutting_down()).await;
            }
            self.spawn(&request).await
        };
        match spawned {
            Ok(process) => Box::pin(self.supervise(process, permit)).await,
            Err(error) => self.cannot_spawn(format!("cannot spawn: {error}")).await,
        }
    }

    /// Starts the command. For a moment there may be no descriptor left, while those that strangers have
    /// sent are being closed: no more of them come until it is over.
    async fn spawn(&self, request: &Request) -> io::Result<Process> {
        const PATIENCE: Duration = Duration::from_secs(1);
        const PAUSE: Duration = Duration::from_millis(5);
        let (begin, mut pause) = (Instant::now(), None);
        loop {
            match Process::spawn(&self.common.spawner, &request.invocation).await {
                Err(error) if is_short_of_descriptors(&error) && begin.elapsed() < PATIENCE => {
                    pause.get_or_insert_with(|| self.common.strangers.pause());
                    tokio::time::sleep(PAUSE).await;
                }
                spawned => return spawned,
            }
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
        let stop = Stop::default();
        // Boxed, as a future that is handed on takes its room at every step.
        let outputs = Box::pin(outputs::collect(&leader, stdout, stderr, self.rules(&stop)));
        let mut outputs = self
            .until_over(&leader, stdin, permit.take_stdin(), outputs, &stop)
            .await;
        if let (Some(outputs), Some(reason)) = (&mut outputs, stop.reason()) {
            outputs.stderr.push_note(&note(reason));
        }
        if outputs.as_ref().is_some_and(|outputs| outputs.unkillable) {
            // Its descriptors and its number are taken until it dies.
            tokio::spawn(async move { (leader.reap().await, permit) });
            return self
                .cannot_spawn("killed, but it lives on: wait status unknown".into())
                .await;
        }
        let status = leader.reap().await;
        drop(permit);
        self.answer(outputs, status, pid, begin.elapsed()).await
    }

    async fn answer(
        &self,
        outputs: Option<Outputs>,
        status: io::Result<WaitStatus>,
        pid: i32,
        elapsed: Duration,
    ) -> io::Result<()> {
        let ms = elapsed.as_millis();
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

    fn rules<'b>(&self, stop: &'b Stop) -> Rules<'b>
    where
        'a: 'b,
    {
        let Common {
            config,
            budget,
            memory,
            spill,
            shutdown,
            ..
        } = self.common;
        Rules {
            room: Room {
                allowance: Allowance::new(memory, spill, config.max_spill),
                budget,
                shutdown,
            },
            linger: config.classic_linger,
            kill_grace: config.kill_grace,
            shutdown,
            stop,
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
        stop: &Stop,
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
                    stop.stop(HELD_BACK);
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

fn shutting_down() -> Refusal {
    Refusal::new(RefusalKind::Busy, "the server is shutting down")
}

fn bad_request(error: &ProtocolError) -> Refusal {
    Refusal::new(RefusalKind::BadRequest, error)
}
