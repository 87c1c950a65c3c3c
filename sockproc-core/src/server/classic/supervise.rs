//! A classic run from its start to its reply.

use std::io;
use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;
use tracing::{info, warn};

use super::Exchange;
use super::outputs::{Outputs, Reason, collect};
use super::spill::limits::Allowance;
use super::spill::room::Room;
use super::stdin::{self, Feed, StdinEnd};
use crate::process::{Leader, Pipe, Process, Reaped};
use crate::proto::OnDisconnect;
use crate::proto::classic::note;
use crate::server::Common;
use crate::server::budget::RunPermit;
use crate::server::completion::{Rules, Stop};
use crate::server::peer::Peer;
use crate::server::run;

/// What a client is told that had to give way, see
/// [`MIN_STALLED`](crate::server::budget::eviction::MIN_STALLED).
const HELD_BACK: &str = "killed: no stdin came for 10 s while descriptors were short";

impl<'a> Exchange<'a> {
    /// Owns a command until it is reaped, and sends its reply.
    pub(super) async fn supervise(
        &mut self,
        process: Process,
        mut permit: RunPermit,
    ) -> io::Result<()> {
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
        let common = self.common;
        let guard = common.spawner.stdin_guard().clone();
        let (open, stdin_closed) = stdin::Open::new(stdin, guard, permit);
        let over = async {
            let outputs = outputs.await;
            if outputs.at_end {
                // What the command left behind may still read its stdin: it gets all of it.
                tokio::select! {
                    _ = stdin_closed => {}
                    () = common.shutdown.killing() => {}
                }
            }
            outputs
        };
        tokio::select! {
            biased;
            () = self.until_gone(leader, open, stop) => None,
            outputs = over => Some(outputs),
        }
    }

    /// Feeds stdin. Resolves when the client has gone, and what it started has ended for that.
    async fn until_gone(
        &mut self,
        leader: &Leader,
        open: Option<stdin::Open>,
        stop: &Stop<Reason>,
    ) {
        let (socket, common) = (&self.socket, self.common);
        let given_up = async {
            match common.config.classic_on_disconnect {
                OnDisconnect::Finish => std::future::pending().await,
                OnDisconnect::Kill => socket.hung_up().await,
            }
        };
        let feed = Feed::new(socket, &mut self.session, &common.budget, leader, open);
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
        leader.terminate(common.config.kill_grace).await;
    }
}
