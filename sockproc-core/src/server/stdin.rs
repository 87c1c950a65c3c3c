//! The stdin of a run: from its client to its command, as it comes.

use std::io;
use std::ops::ControlFlow;

use rustix::process::Signal;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::socket::Socket;
use crate::process::{Group, Pipe, pump};
use crate::proto::ServerEvent;
use crate::proto::classic::ServerSession;

/// Stdin is moved in pieces of at most so many bytes.
const READ_LEN: u64 = 256 * 1024;

/// What came of the rest of a request while its command ran.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum StdinEnd {
    Whole,
    Gone,
}

/// Our end of a command's stdin. Dropped, it is closed, its descriptor is free, and who waits for
/// that is told.
pub(crate) struct Open {
    pipe: Pipe,
    _permit: Option<OwnedSemaphorePermit>,
    _told_by_its_end: oneshot::Sender<()>,
}

impl Open {
    /// The pipe, and what resolves (to an error) once nobody writes to it any more: at the end of
    /// the request's stdin, or when no process holds its other end.
    pub(crate) fn new(
        pipe: Pipe,
        permit: Option<OwnedSemaphorePermit>,
    ) -> (Self, oneshot::Receiver<()>) {
        let (tell, told) = oneshot::channel();
        (
            Self {
                pipe,
                _permit: permit,
                _told_by_its_end: tell,
            },
            told,
        )
    }
}

/// Moves stdin from a client to its command.
pub(crate) struct Feed<'a> {
    socket: &'a Socket,
    session: &'a mut ServerSession,
    group: Group,
    /// `None` once nobody reads: the rest is nobody's.
    open: Option<Open>,
}

impl<'a> Feed<'a> {
    pub(crate) fn new(
        socket: &'a Socket,
        session: &'a mut ServerSession,
        group: Group,
        open: Open,
    ) -> Self {
        Self {
            socket,
            session,
            group,
            open: Some(open),
        }
    }

    /// Moves all of it, and closes the command's stdin at its end.
    ///
    /// A client that goes before it has sent all that it announced takes its command with it: the
    /// command's group is killed before its stdin ends, lest it takes half of its input for the whole.
    pub(crate) async fn run(mut self) -> StdinEnd {
        let end = self.move_all().await;
        if end == StdinEnd::Gone {
            self.group.signal(Signal::KILL);
        }
        end
    }

    async fn move_all(&mut self) -> StdinEnd {
        let mut buffer = Vec::new();
        loop {
            let more = match self.session.next_event() {
                Ok(Some(ServerEvent::Stdin(data))) => self.write(&data).await,
                Ok(Some(ServerEvent::StdinEnd)) => return StdinEnd::Whole,
                _ => {
                    let len = self.session.stdin_left().min(READ_LEN);
                    buffer.resize(len as usize, 0);
                    match self.read(&mut buffer).await {
                        Ok(0) if !self.socket.is_hung_up() => {
                            self.session.receive_eof();
                            ControlFlow::Continue(())
                        }
                        Ok(len @ 1..) => {
                            let _ = self.session.receive_stdin(len as u64);
                            self.write(&buffer[..len]).await
                        }
                        Ok(0) | Err(_) => return StdinEnd::Gone,
                    }
                }
            };
            if more.is_break() {
                return StdinEnd::Gone;
            }
        }
    }

    /// Reads from the client; meanwhile lets go of a pipe that nobody reads.
    async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(open) = &self.open {
            tokio::select! {
                biased;
                read = self.socket.read(buffer) => return read,
                () = pump::closed(&open.pipe) => self.open = None,
            }
        }
        self.socket.read(buffer).await
    }

    /// Writes to the command; breaks when the client goes meanwhile and leaves its request cut.
    async fn write(&mut self, data: &[u8]) -> ControlFlow<()> {
        let Some(open) = &self.open else {
            return ControlFlow::Continue(());
        };
        let left = self.session.stdin_left();
        let cut_off = async {
            self.socket.hung_up().await;
            if self.socket.unread() >= left {
                // All has been sent: whoever has gone left a whole request.
                std::future::pending().await
            }
        };
        let taken = tokio::select! {
            biased;
            taken = pump::feed(&open.pipe, data) => taken,
            () = cut_off => return ControlFlow::Break(()),
        };
        if !matches!(taken, Ok(ControlFlow::Continue(()))) {
            self.open = None;
        }
        ControlFlow::Continue(())
    }
}
