//! One native exchange: request, run, frames in both directions.

mod conversation;
mod descriptors;
mod hint;
mod output;
mod request;
mod saying;
mod signals;
mod stdin;
mod supervise;

pub(super) use descriptors::Descriptors;
pub(super) use output::BulkBuffers;
pub(super) use request::{Opened, begin};
pub(super) use stdin::WideWindows;

use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;
use tracing::warn;

use super::Common;
use super::accepted::{Accepted, Transport};
use super::budget::requests::Charge;
use super::peer::Peer;
use super::run::{self, NotStarted, Unstarted};
use crate::process::Passed;
use crate::proto::native::ServerSession;
use crate::proto::{OnDisconnect, Refusal, RefusalKind, Request};
use conversation::Conversation;
use request::{Asked, Begun};
use supervise::{Run, after};

/// The greeting goes together with STARTED if that comes so soon.
const GREETING_PATIENCE: Duration = Duration::from_millis(20);

/// After the last frame a client has this long to close.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// Answers the request. Returns when the connection can be closed.
pub(crate) async fn finish(begun: Begun<'_>) {
    let Begun {
        exchange,
        asked,
        descriptors,
    } = begun;
    match asked {
        Asked::Run(request, charge) => match descriptors.for_request(&request) {
            Ok(passed) => Box::pin(exchange.answer(request, passed, charge)).await,
            Err(refusal) => Box::pin(exchange.refuse(refusal)).await,
        },
        Asked::Refused(refusal) => Box::pin(exchange.refuse(refusal)).await,
        Asked::Failed(answer) => Box::pin(exchange.end_with(answer)).await,
        Asked::Gone => {}
    }
}

/// A connection on its way through its one exchange.
pub(super) struct Exchange<'a> {
    conversation: Conversation<'a>,
    id: u64,
}

impl<'a> Exchange<'a> {
    /// `held` goes before the first frame. On the heap, as each future that it is handed to would have
    /// room for it.
    fn new(
        common: &'a Common,
        socket: Accepted,
        session: ServerSession,
        id: u64,
        held: Vec<u8>,
    ) -> Box<Self> {
        let conversation = Conversation::new(common, socket, session, held);
        Box::new(Self { conversation, id })
    }

    /// Runs the command and tells its client of it. Returns when the connection can be closed.
    async fn answer(&self, request: Box<Request>, passed: Vec<Passed>, charge: Charge) {
        let answered = tokio::select! {
            biased;
            never = self.conversation.hear() => never,
            answered = self.run_when_there_is_room(request, passed, charge) => answered,
            never = self.conversation.flush_at_pauses() => never,
        };
        match answered {
            Ok(()) => {
                // A client may first write all that its credit allows, and only then read.
                tokio::select! {
                    biased;
                    () = self.conversation.flush_last() => {}
                    () = self.conversation.discard() => {}
                }
                Box::pin(self.see_off()).await;
            }
            Err(refusal) => Box::pin(self.refuse(refusal)).await,
        }
    }

    async fn run_when_there_is_room(
        &self,
        request: Box<Request>,
        passed: Vec<Passed>,
        charge: Charge,
    ) -> Result<(), Refusal> {
        // The request, and all that the start takes, is freed before the run goes on.
        let started = Box::pin(self.start_when_there_is_room(request, passed, charge));
        if let Some(run) = started.await? {
            run.await;
        }
        Ok(())
    }

    /// Returns the run, unless there is nothing to say about it any more.
    async fn start_when_there_is_room(
        &self,
        request: Box<Request>,
        passed: Vec<Passed>,
        charge: Charge,
    ) -> Result<Option<Pin<Box<impl Future<Output = ()>>>>, Refusal> {
        let (conversation, common) = (&self.conversation, self.conversation.common);
        self.check_token(&request)?;
        let mut given_up = pin!(self.given_up(&request));
        let permit = tokio::select! {
            biased;
            given_up = &mut given_up => return given_up.map(|()| None),
            permit = common.budget.run() => permit.map_err(|_| NotStarted::Busy)?,
            // The greeting does not wait for others.
            never = conversation.flush_and_pend() => never,
        };
        drop(charge);
        let started = run::start(common, &request, passed, permit, given_up);
        // Nor does it wait for a start that hangs: its client may want to cancel it.
        let greet = async {
            sleep(GREETING_PATIENCE).await;
            conversation.flush_and_pend().await
        };
        let started = tokio::select! {
            biased;
            started = started => started,
            never = greet => never,
        };
        match started {
            Ok((process, permit)) => {
                let run = Run::new(conversation, &request, self.id);
                Ok(Some(Box::pin(run.supervise(process, permit))))
            }
            Err(Unstarted::Failed(reason)) => Err(reason.refusal(&request)),
            Err(Unstarted::GivenUp(reason)) => reason.map(|()| None),
        }
    }

    /// Resolves when a run that has not been started is not to be started any more: with a refusal, or
    /// with nothing to say as its client has gone.
    async fn given_up(&self, request: &Request) -> Result<(), Refusal> {
        let conversation = &self.conversation;
        let gone = async {
            conversation.gone().await;
            if request.on_disconnect == Some(OnDisconnect::Finish) {
                std::future::pending().await
            }
        };
        tokio::select! {
            biased;
            () = conversation.common.shutdown.killing() => Err(NotStarted::ShuttingDown.into()),
            () = gone => Ok(()),
            _ = conversation.cancelled.wait() => Err(cancelled()),
            () = after(request.limits.queue_timeout) => Err(queue_timeout(request)),
        }
    }

    fn check_token(&self, request: &Request) -> Result<(), Refusal> {
        let wanted = &self.conversation.common.config.token;
        let message = match (wanted, &request.token) {
            (None, None) => return Ok(()),
            (Some(wanted), Some(shown)) if wanted.is(shown) => return Ok(()),
            (Some(_), Some(_)) => "token: it is not this server's",
            (Some(_), None) => "token: this server wants one",
            // It proves nothing here, and whoever sends it may have meant another server.
            (None, Some(_)) => "token: this server asks for none",
        };
        Err(Refusal::new(RefusalKind::Policy, message))
    }

    async fn refuse(&self, refusal: Refusal) {
        let (peer, kind, reason) = (
            Peer(&self.conversation.socket),
            refusal.kind,
            &refusal.message,
        );
        warn!(id = self.id, %peer, ?kind, reason, "refused");
        self.conversation.let_be_left();
        let discard = self.conversation.discard();
        let refused = |session: &mut ServerSession| session.send_refused(&refusal);
        let refuse = async {
            self.conversation.say(refused, None).await;
            self.conversation.flush_last().await;
        };
        tokio::select! {
            biased;
            () = refuse => {}
            () = discard => {}
        }
        self.see_off().await;
    }

    /// Says the last frame, which the session has made already.
    async fn end_with(&self, answer: Bytes) {
        self.conversation.let_be_left();
        let end = async {
            self.conversation.say(|_| Ok(answer), None).await;
            self.conversation.flush_last().await;
        };
        tokio::select! {
            biased;
            () = end => {}
            () = self.conversation.discard() => {}
        }
        self.see_off().await;
    }

    /// Ends our direction and waits for the client to end its own: a close with unread bytes would
    /// reset the connection, and on TCP the last frames with it.
    async fn see_off(&self) {
        /// Time between two looks at what the client's kernel has taken.
        const LOOK: Duration = Duration::from_millis(20);
        let (socket, common) = (&self.conversation.socket, self.conversation.common);
        socket.half_close();
        let stalled = common.budget.stalled_at_end();
        let taken = async {
            while socket.transport() == Transport::Tcp && socket.untaken() > 0 {
                sleep(LOOK).await;
            }
            let idle = common.budget.waiting();
            tokio::select! {
                () = sleep(CLOSE_PATIENCE) => {}
                () = idle.evicted() => {}
            }
        };
        tokio::select! {
            () = self.conversation.discard() => {}
            () = taken => {}
            () = stalled.evicted() => {}
            () = common.shutdown.leaving(CLOSE_PATIENCE) => {}
            () = common.shutdown.killing() => {}
        }
    }
}

fn cancelled() -> Refusal {
    Refusal::new(RefusalKind::Cancelled, "cancelled before it was started")
}

fn queue_timeout(request: &Request) -> Refusal {
    let ms = request.limits.queue_timeout.map_or(0, |limit| limit.get());
    Refusal::new(
        RefusalKind::QueueTimeout,
        format_args!("not started within {ms} ms"),
    )
}
