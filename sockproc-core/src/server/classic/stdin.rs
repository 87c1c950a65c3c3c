//! The stdin of a run: from its client to its command, as it comes.

use std::io;
use std::ops::ControlFlow;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::process::{Held, Leader, Pipe, StdinGuard, pump};
use crate::proto::ServerEvent;
use crate::proto::classic::ServerSession;
use crate::server::accepted::{Accepted, DISCARD_PAUSE};
use crate::server::budget::Budget;

/// Stdin is moved in pieces of at most this many bytes.
const READ_LEN: u64 = 256 * 1024;

/// What came of the rest of a request while its command ran.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum StdinEnd {
    Whole,
    /// The client went and left its request cut; the tree was killed.
    Gone,
    /// The client sent nothing for so long that it had to give way; the tree was killed.
    HeldBack,
}

/// Our end of a command's stdin. Dropped, it is closed, its descriptor is free, and who waits for
/// that is told.
pub(crate) struct Open {
    pipe: Pipe,
    guard: StdinGuard,
    /// Had from the first time on that stdin is waited for.
    held: Option<Held>,
    _permit: Option<OwnedSemaphorePermit>,
    _closed: oneshot::Sender<()>,
}

impl Open {
    /// The pipe, and what resolves (to an error) once it is closed: at the end of the request's stdin,
    /// or when no process holds its other end.
    pub(crate) fn new(
        pipe: Option<Pipe>,
        guard: StdinGuard,
        permit: Option<OwnedSemaphorePermit>,
    ) -> (Option<Self>, oneshot::Receiver<()>) {
        let (closed, told) = oneshot::channel();
        let open = pipe.map(|pipe| Self {
            pipe,
            guard,
            held: None,
            _permit: permit,
            _closed: closed,
        });
        (open, told)
    }
}

/// Moves stdin from a client to its command.
pub(crate) struct Feed<'a> {
    socket: &'a Accepted,
    session: &'a mut ServerSession,
    budget: &'a Budget,
    leader: &'a Leader,
    /// `None` once no process reads: the rest is thrown away.
    open: Option<Open>,
}

impl<'a> Feed<'a> {
    pub(crate) fn new(
        socket: &'a Accepted,
        session: &'a mut ServerSession,
        budget: &'a Budget,
        leader: &'a Leader,
        open: Option<Open>,
    ) -> Self {
        Self {
            socket,
            session,
            budget,
            leader,
            open,
        }
    }

    /// Moves all of it, and closes the command's stdin at its end.
    ///
    /// A client that does not send all that it announced takes its command with it: the tree is killed
    /// before its stdin ends, lest it takes half of its input for the whole.
    pub(crate) async fn run(mut self) -> StdinEnd {
        let end = self.move_all().await.break_value();
        if end.is_some() {
            self.leader.kill().await;
        }
        end.unwrap_or(StdinEnd::Whole)
    }

    async fn move_all(&mut self) -> ControlFlow<StdinEnd> {
        let mut buffer = Vec::new();
        loop {
            match self.session.next_event() {
                Ok(Some(ServerEvent::Stdin(data))) => self.write(&data).await?,
                Ok(Some(ServerEvent::StdinEnd)) => return ControlFlow::Continue(()),
                _ => match self.read(&mut buffer).await? {
                    0 => self.session.receive_eof(),
                    len => {
                        let _ = self.session.receive_stdin(len as u64);
                        self.write(&buffer[..len]).await?;
                    }
                },
            }
        }
    }

    /// Reads from the client; 0 is a half-close. Breaks when the client has gone, or waits for so long
    /// that it has to give way.
    async fn read(&mut self, buffer: &mut Vec<u8>) -> ControlFlow<StdinEnd, usize> {
        let most = self.session.stdin_left().min(READ_LEN);
        let idle = self.budget.held_back();
        let read = tokio::select! {
            biased;
            read = read_or_close(self.socket, &mut self.open, buffer, most) => read,
            () = idle.evicted() => return ControlFlow::Break(StdinEnd::HeldBack),
        };
        match read {
            Ok(0) if self.socket.is_hung_up() => ControlFlow::Break(StdinEnd::Gone),
            Ok(len) => ControlFlow::Continue(len),
            Err(_) => ControlFlow::Break(StdinEnd::Gone),
        }
    }

    /// Writes to the command; breaks when the client goes meanwhile and leaves its request cut.
    async fn write(&mut self, data: &[u8]) -> ControlFlow<StdinEnd> {
        let Some(open) = &self.open else {
            // What no one reads has no hurry, and others have.
            tokio::time::sleep(DISCARD_PAUSE).await;
            return ControlFlow::Continue(());
        };
        let missing = self.session.stdin_missing();
        let taken = tokio::select! {
            biased;
            taken = pump::feed(&open.pipe, data) => taken,
            () = self.socket.gone_before(missing) => return ControlFlow::Break(StdinEnd::Gone),
        };
        if !matches!(taken, Ok(ControlFlow::Continue(()))) {
            self.open = None;
        }
        ControlFlow::Continue(())
    }
}

/// Reads from the client; meanwhile lets go of a pipe that no process reads any more.
async fn read_or_close(
    socket: &Accepted,
    open: &mut Option<Open>,
    buffer: &mut Vec<u8>,
    most: u64,
) -> io::Result<usize> {
    if let Some(Open {
        pipe, guard, held, ..
    }) = open
    {
        held.get_or_insert_with(|| guard.hold());
        tokio::select! {
            biased;
            read = socket.read_into(buffer, most) => return read,
            () = pump::closed(pipe) => *open = None,
        }
    }
    socket.read_into(buffer, most).await
}
