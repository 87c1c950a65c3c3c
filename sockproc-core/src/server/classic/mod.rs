//! One classic exchange: request, run, reply.

pub(super) mod memory;
mod outputs;
mod reply;
pub(super) mod spill;
mod spool;
mod stdin;
mod supervise;

use std::io;
use std::pin::pin;

use tracing::debug;

use super::Common;
use super::accepted::{Accepted, Transport};
use super::budget::eviction::IdleGuard;
use super::run::{self, NotStarted, Unstarted};
use crate::proto::classic::ServerSession;
use crate::proto::{OnDisconnect, Refusal, RefusalKind, Request, ServerEvent};

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
            // What has come before that is still heard: it may be the rest of the request.
            () = idle.evicted_or_draining(common) => {
                socket.receive_last(|data| session.receive_data(data)).await
            }
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
        let started = {
            let mut given_up = pin!(self.given_up());
            tokio::select! {
                biased;
                given_up = &mut given_up => Err(Unstarted::GivenUp(given_up)),
                permit = self.common.budget.run() => match permit {
                    Ok(permit) => run::start(self.common, &request, Vec::new(), permit, given_up).await,
                    Err(_) => Err(Unstarted::Failed(NotStarted::Busy)),
                },
            }
        };
        drop(request);
        match started {
            Ok((process, permit)) => Box::pin(self.supervise(process, permit)).await,
            Err(Unstarted::Failed(reason) | Unstarted::GivenUp(Some(reason))) => {
                self.refuse(&reason.into()).await
            }
            Err(Unstarted::GivenUp(None)) => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }

    /// Resolves when a run that has not been started is not to be started any more: as the server ends, or
    /// as its client has gone, which needs no answer. A client has gone when its request is cut, or when
    /// the server is told to end what its clients give up.
    async fn given_up(&self) -> Option<NotStarted> {
        let gone = async {
            match self.common.config.classic_on_disconnect {
                OnDisconnect::Kill => self.socket.hung_up().await,
                OnDisconnect::Finish => self.socket.gone_before(self.session.stdin_missing()).await,
            }
        };
        tokio::select! {
            biased;
            () = self.common.shutdown.killing() => Some(NotStarted::ShuttingDown),
            () = gone => None,
        }
    }
}
