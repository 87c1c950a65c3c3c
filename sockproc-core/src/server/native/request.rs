//! From the opening to a whole request.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::sleep_until;
use tracing::debug;

use super::{Descriptors, Exchange};
use crate::proto::native::ServerSession;
use crate::proto::opening::{GREETING, VERSION, refuse_version};
use crate::proto::{Refusal, RefusalKind, Request, ServerEvent};
use crate::server::Common;
use crate::server::accepted::Accepted;
use crate::server::budget::eviction::IdleGuard;
use crate::server::budget::requests::Charge;
use crate::server::run::NotStarted;

/// From accept to the last byte of RUN.
const MAX_OPENING: Duration = Duration::from_secs(30);

/// A connection whose opening has been read.
pub(crate) struct Opened<'a> {
    pub(crate) accepted: Instant,
    pub(crate) version: u32,
    /// What came behind the opening, and the descriptors that came with it.
    pub(crate) rest: Bytes,
    pub(crate) descriptors: Descriptors<'a>,
}

/// What came of waiting for a request.
pub(super) enum Asked {
    /// What the request takes of the memory for all of them goes back when it is started.
    Run(Box<Request>, Charge),
    Refused(Refusal),
    /// The client has broken the protocol, or asked for something bad: this answers it.
    Failed(Bytes),
    /// There is no one to answer.
    Gone,
}

/// A connection, and what came of waiting for its request.
pub(crate) struct Begun<'a> {
    pub(super) exchange: Box<Exchange<'a>>,
    pub(super) asked: Asked,
    pub(super) descriptors: Descriptors<'a>,
}

/// Waits for one request; `None` if its client has gone.
pub(crate) async fn begin<'a>(
    common: &'a Common,
    socket: Accepted,
    id: u64,
    idle: IdleGuard<'_>,
    opened: Opened<'a>,
) -> Option<Begun<'a>> {
    let mut session = ServerSession::new();
    let mut descriptors = opened.descriptors;
    if opened.version != VERSION {
        let answer = refuse_version(opened.version);
        return Some(Begun {
            exchange: Exchange::new(common, socket, session, id, Vec::new()),
            asked: Asked::Failed(answer),
            descriptors,
        });
    }
    socket.send_at_once();
    session.receive_data(&opened.rest);
    // With a whole request behind it, the greeting goes out with the first frame.
    let charge = common.budget.requests.begin(socket.peer_uid());
    let (mut first, mut greeting) = (asked(&mut session, charge), GREETING.to_vec());
    if let Err(charge) = first {
        // The kernel takes as little as this of a fresh connection at once.
        if socket.try_write(&greeting).ok() != Some(greeting.len()) {
            debug!(id, "client gone behind its opening");
            return None;
        }
        greeting.clear();
        let listening = listen(&socket, &mut session, &mut descriptors, charge);
        let deadline = opened.accepted + MAX_OPENING;
        first = Ok(tokio::select! {
            biased;
            asked = listening => asked,
            () = idle.evicted() => Asked::Refused(busy("other connections need the room")),
            () = common.shutdown.draining() => Asked::Refused(NotStarted::ShuttingDown.into()),
            () = sleep_until(deadline.into()) => Asked::Gone,
        });
    }
    drop(idle);
    let Some(asked) = first.ok().filter(|asked| !matches!(asked, Asked::Gone)) else {
        debug!(id, "client gone before its request was whole");
        return None;
    };
    Some(Begun {
        exchange: Exchange::new(common, socket, session, id, greeting),
        asked,
        descriptors,
    })
}

/// What the bytes so far ask for; returns the charge, which covers them, if that takes more of them.
fn asked(session: &mut ServerSession, mut charge: Charge) -> Result<Asked, Charge> {
    // A whole request is taken out of what the session holds.
    if charge.set(session.held()).is_err() {
        return Ok(Asked::Refused(busy(
            "too many requests wait or are not whole yet",
        )));
    }
    loop {
        match session.next_event() {
            Ok(Some(ServerEvent::Run(request))) => return Ok(Asked::Run(request, charge)),
            Ok(Some(ServerEvent::Gone)) => return Ok(Asked::Gone),
            Ok(Some(_)) => {}
            Ok(None) => return Err(charge),
            Err(error) => return Ok(Asked::Failed(session.send_failed(&error))),
        }
    }
}

/// Reads until the request is whole.
async fn listen(
    socket: &Accepted,
    session: &mut ServerSession,
    descriptors: &mut Descriptors<'_>,
    mut charge: Charge,
) -> Asked {
    loop {
        let read = socket.receive_with_descriptors(|data| session.receive_data(data));
        match read.await {
            Ok(received) if received.len > 0 => descriptors.take(received),
            Ok(_) => session.receive_eof(),
            Err(_) => return Asked::Gone,
        }
        charge = match asked(session, charge) {
            Ok(asked) => return asked,
            Err(charge) => charge,
        };
    }
}

fn busy(message: &str) -> Refusal {
    Refusal::new(RefusalKind::Busy, message)
}
