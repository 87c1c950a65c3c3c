//! The stdin of a native run: from its client to its command, within the client's credit.

use std::ops::ControlFlow;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit};

use super::conversation::Conversation;
use crate::process::{Pipe, pump};
use crate::proto::OnDisconnect;
use crate::proto::native::ServerSession;

/// Credit is returned for stdin in pieces of this length, a quarter of all that may be under way.
const PIECE_LEN: usize = 16 * 1024;

/// What has come and is not in the command's pipe yet. A client's credit bounds it.
pub(super) struct StdinQueue {
    state: Mutex<State>,
    changed: Notify,
    /// Credit may be due.
    taken: Notify,
}

#[derive(Default)]
struct State {
    data: Vec<u8>,
    /// Whether no more will come.
    is_over: bool,
    /// Bytes that the command has got and the session has not been told of.
    taken: u64,
}

/// Our end of a command's stdin, and what its descriptor takes of the budget.
pub(super) struct Open {
    pub(super) pipe: Pipe,
    pub(super) _permit: Option<OwnedSemaphorePermit>,
}

impl StdinQueue {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::default(),
            changed: Notify::new(),
            taken: Notify::new(),
        }
    }

    pub(super) fn push(&self, data: &[u8]) {
        self.state().data.extend_from_slice(data);
        self.changed.notify_one();
    }

    pub(super) fn end(&self) {
        self.state().is_over = true;
        self.changed.notify_one();
    }

    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.state().data)
    }

    fn is_over(&self) -> bool {
        let state = self.state();
        state.is_over && state.data.is_empty()
    }

    fn count(&self, len: usize) {
        self.state().taken += len as u64;
        self.taken.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Moves stdin to the command until it is over; never resolves.
///
/// The pipe of a run that ends with its client stays open after the client has gone, lest the command
/// takes half of its input for the whole.
pub(super) async fn feed<T>(
    conversation: &Conversation<'_>,
    open: Option<Open>,
    on_disconnect: OnDisconnect,
) -> T {
    let Some(open) = open else {
        return std::future::pending().await;
    };
    let moved = async {
        match move_all(conversation, &open).await {
            ControlFlow::Continue(()) => {}
            ControlFlow::Break(()) => {
                conversation
                    .say(ServerSession::send_stdin_closed, None)
                    .await;
            }
        }
    };
    tokio::select! {
        () = moved => {}
        () = conversation.gone() => if on_disconnect == OnDisconnect::Kill {
            std::future::pending::<()>().await;
        }
    }
    drop(open);
    std::future::pending().await
}

/// Breaks once no process reads the command's stdin any more.
async fn move_all(conversation: &Conversation<'_>, open: &Open) -> ControlFlow<()> {
    let queue = &conversation.stdin;
    let mut held = None;
    while !queue.is_over() {
        let data = queue.take();
        if !data.is_empty() {
            for piece in data.chunks(PIECE_LEN) {
                let fed = pump::feed(&open.pipe, piece).await;
                if !matches!(fed, Ok(ControlFlow::Continue(()))) {
                    return ControlFlow::Break(());
                }
                queue.count(piece.len());
            }
            continue;
        }
        held.get_or_insert_with(|| conversation.common.spawner.stdin_guard().hold());
        tokio::select! {
            biased;
            () = queue.changed.notified() => {}
            () = pump::closed(&open.pipe) => return ControlFlow::Break(()),
        }
    }
    ControlFlow::Continue(())
}

/// Returns credit to the client as its stdin is taken; never resolves.
pub(super) async fn return_credit<T>(conversation: &Conversation<'_>) -> T {
    loop {
        let taken = std::mem::take(&mut conversation.stdin.state().taken);
        let mut credit = conversation.session().stdin_taken(taken);
        while let Some(frame) = credit {
            conversation.say(|_| Ok(frame), None).await;
            credit = conversation.session().credit_written();
        }
        conversation.stdin.taken.notified().await;
    }
}
