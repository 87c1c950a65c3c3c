//! The first bytes of a connection: who speaks which protocol.

use tracing::debug;

use super::Common;
use super::accepted::{Accepted, Transport};
use super::classic::Exchange;
use crate::proto::classic::ServerSession;
use crate::proto::{ProtocolError, Refusal, RefusalKind, Request, ServerEvent};

/// What came of waiting for a request.
enum Opening {
    Run(Box<Request>),
    Refused(Refusal),
    /// There is no one to answer, or nothing to answer to.
    Gone,
}

/// Reads a request and answers it. Returns when the connection can be closed.
pub(crate) async fn serve(common: &Common, socket: Accepted, id: u64) {
    let mut session = match socket.transport() {
        Transport::Unix => ServerSession::new(),
        Transport::Tcp => ServerSession::new().refuse_http(),
    };
    let opening = read(common, &socket, &mut session).await;
    let exchange = Exchange::new(common, socket, session, id);
    match opening {
        // On the heap, so that a connection that only waits takes less memory.
        Opening::Run(request) => Box::pin(exchange.answer(request)).await,
        Opening::Refused(refusal) => Box::pin(exchange.answer_no(&refusal)).await,
        Opening::Gone => debug!(id, "client gone before its request was whole"),
    }
}

/// Reads until the command can be started.
async fn read(common: &Common, socket: &Accepted, session: &mut ServerSession) -> Opening {
    // From its first moment on: single bytes now and then keep no connection alive.
    let idle = common.budget.waiting();
    loop {
        match session.next_event() {
            Ok(Some(ServerEvent::Run(request))) => return Opening::Run(request),
            Ok(_) => {}
            Err(error) => return Opening::Refused(bad_request(&error)),
        }
        let read = tokio::select! {
            biased;
            read = socket.receive(|data| session.receive_data(data)) => read,
            () = idle.evicted() => return Opening::Gone,
            () = common.shutdown.draining() => return Opening::Gone,
        };
        match read {
            Ok(0) if !socket.is_hung_up() => session.receive_eof(),
            Ok(1..) => {}
            Ok(0) | Err(_) => return Opening::Gone,
        }
    }
}

fn bad_request(error: &ProtocolError) -> Refusal {
    Refusal::new(RefusalKind::BadRequest, error)
}
