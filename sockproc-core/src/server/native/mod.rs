//! One native exchange: request, run, frames in both directions.

mod conversation;
mod descriptors;
mod output;
mod signals;
mod stdin;
mod supervise;

pub(super) use descriptors::Descriptors;
pub(super) use output::BulkBuffers;
pub(super) use stdin::WideWindows;

use std::pin::pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::{sleep, sleep_until};
use tracing::{debug, warn};

use super::Common;
use super::accepted::{Accepted, Transport};
use super::budget::eviction::IdleGuard;
use super::peer::Peer;
use super::run::{self, NotStarted, Unstarted};
use crate::process::Passed;
use crate::proto::native::ServerSession;
use crate::proto::opening::{GREETING, VERSION, refuse_version};
use crate::proto::{OnDisconnect, Refusal, RefusalKind, Request, ServerEvent};
use conversation::Conversation;
use supervise::{Run, after};

/// From accept to the last byte of RUN.
const MAX_OPENING: Duration = Duration::from_secs(30);

/// After the last frame a client has this long to close.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// A connection whose opening has been read.
pub(crate) struct Opened<'a> {
    pub(crate) accepted: Instant,
    pub(crate) version: u32,
    /// What came behind the opening, and the descriptors that came with it.
    pub(crate) rest: Bytes,
    pub(crate) descriptors: Descriptors<'a>,
}

/// What came of waiting for a request.
enum Asked {
    Run(Box<Request>),
    Refused(Refusal),
    /// The client has broken the protocol, or asked for something bad: this answers it.
    Failed(Bytes),
    /// There is no one to answer.
    Gone,
}

/// Answers one request. Returns when the connection can be closed.
pub(crate) async fn serve(
    common: &Common,
    socket: Accepted,
    id: u64,
    idle: IdleGuard<'_>,
    opened: Opened<'_>,
) {
    let mut session = ServerSession::new();
    let mut descriptors = opened.descriptors;
    if opened.version != VERSION {
        let answer = refuse_version(opened.version);
        let exchange = Exchange::new(common, socket, session, id, Vec::new());
        return Box::pin(exchange.end_with(answer)).await;
    }
    socket.send_at_once();
    session.receive_data(&opened.rest);
    // With a whole request behind it, the greeting goes out with the first frame.
    let (mut asked, mut greeting) = (asked(&mut session), GREETING.to_vec());
    if asked.is_none() {
        // The kernel takes as little as this of a fresh connection at once.
        if socket.try_write(&greeting).ok() != Some(greeting.len()) {
            return debug!(id, "client gone behind its opening");
        }
        greeting.clear();
        let listening = listen(common, &socket, &mut session, &mut descriptors);
        let deadline = opened.accepted + MAX_OPENING;
        asked = Some(tokio::select! {
            biased;
            asked = listening => asked,
            () = idle.evicted() => Asked::Refused(busy("other connections need the room")),
            () = common.shutdown.draining() => Asked::Refused(NotStarted::ShuttingDown.into()),
            () = sleep_until(deadline.into()) => Asked::Gone,
        });
    }
    drop(idle);
    let exchange = Exchange::new(common, socket, session, id, greeting);
    match asked {
        Some(Asked::Run(request)) => match descriptors.for_request(&request) {
            Ok(passed) => Box::pin(exchange.answer(&request, passed)).await,
            Err(refusal) => Box::pin(exchange.refuse(refusal)).await,
        },
        Some(Asked::Refused(refusal)) => Box::pin(exchange.refuse(refusal)).await,
        Some(Asked::Failed(answer)) => Box::pin(exchange.end_with(answer)).await,
        Some(Asked::Gone) | None => debug!(id, "client gone before its request was whole"),
    }
}

/// What the bytes so far ask for; `None` if that takes more of them.
fn asked(session: &mut ServerSession) -> Option<Asked> {
    loop {
        match session.next_event() {
            Ok(Some(ServerEvent::Run(request))) => return Some(Asked::Run(request)),
            Ok(Some(ServerEvent::Gone)) => return Some(Asked::Gone),
            Ok(Some(_)) => {}
            Ok(None) => return None,
            Err(error) => return Some(Asked::Failed(session.send_failed(&error))),
        }
    }
}

/// Reads until the request is whole.
async fn listen(
    common: &Common,
    socket: &Accepted,
    session: &mut ServerSession,
    descriptors: &mut Descriptors<'_>,
) -> Asked {
    let mut charge = common.budget.requests.begin(socket.peer_uid());
    loop {
        if charge.set(session.held()).is_err() {
            return Asked::Refused(busy("too many requests are not whole yet"));
        }
        let read = socket.receive_with_descriptors(|data| session.receive_data(data));
        match read.await {
            Ok(received) if received.len > 0 => descriptors.take(received),
            Ok(_) => session.receive_eof(),
            Err(_) => return Asked::Gone,
        }
        if let Some(asked) = asked(session) {
            return asked;
        }
    }
}

/// A connection on its way through its one exchange.
struct Exchange<'a> {
    conversation: Conversation<'a>,
    id: u64,
}

impl<'a> Exchange<'a> {
    /// `held` goes before the first frame.
    fn new(
        common: &'a Common,
        socket: Accepted,
        session: ServerSession,
        id: u64,
        held: Vec<u8>,
    ) -> Self {
        let conversation = Conversation::new(common, socket, session, held);
        Self { conversation, id }
    }

    /// Runs the command and tells its client of it. Returns when the connection can be closed.
    async fn answer(self, request: &Request, passed: Vec<Passed>) {
        let answered = {
            let (hear, run) = (
                self.conversation.hear(),
                self.run_when_there_is_room(request, passed),
            );
            let hear = async {
                hear.await;
                std::future::pending().await
            };
            tokio::select! {
                biased;
                never = hear => never,
                answered = run => answered,
                never = self.conversation.flush_at_pauses() => never,
            }
        };
        match answered {
            Ok(()) => {
                self.conversation.flush_last().await;
                self.see_off().await;
            }
            Err(refusal) => Box::pin(self.refuse(refusal)).await,
        }
    }

    async fn run_when_there_is_room(
        &self,
        request: &Request,
        passed: Vec<Passed>,
    ) -> Result<(), Refusal> {
        let (conversation, common) = (&self.conversation, self.conversation.common);
        self.check_token(request)?;
        let mut given_up = pin!(self.given_up(request));
        let permit = tokio::select! {
            biased;
            given_up = &mut given_up => return given_up,
            permit = common.budget.run() => permit,
            // The greeting does not wait for others.
            never = conversation.flush_and_pend() => never,
        };
        match run::start(common, request, passed, permit, given_up).await {
            Ok((process, permit)) => {
                let run = Run {
                    conversation,
                    request,
                    id: self.id,
                };
                Box::pin(run.supervise(process, permit)).await;
                Ok(())
            }
            Err(Unstarted::Failed(reason)) => Err(reason.refusal(request)),
            Err(Unstarted::GivenUp(reason)) => reason,
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

    async fn refuse(self, refusal: Refusal) {
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
    async fn end_with(self, answer: Bytes) {
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

fn busy(message: &str) -> Refusal {
    Refusal::new(RefusalKind::Busy, message)
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
