//! The stdin of a native run: from its client to its command, within the client's credit.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::ops::ControlFlow;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::conversation::Conversation;
use super::hint::Hint;
use crate::process::{Pipe, pump};
use crate::proto::OnDisconnect;
use crate::proto::native::ServerSession;

/// Credit is returned for stdin in pieces of this length, a quarter of all that may be under way.
pub(super) const PIECE_LEN: usize = 16 * 1024;

/// Pieces that are shorter share one buffer of this length.
const SHORT_LEN: usize = 4 * 1024;

/// This many runs at a time may have 64 KiB of stdin under way, all others 16 KiB. So what commands do not
/// read takes little memory.
const MAX_WIDE: usize = 16;

/// The wide windows of all runs; clones share them.
#[derive(Clone)]
pub(crate) struct WideWindows(Arc<Semaphore>);

impl WideWindows {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(MAX_WIDE)))
    }
}

/// What has come and is not in the command's pipe yet. A client's credit bounds it.
pub(super) struct StdinQueue {
    state: Mutex<State>,
    changed: Hint,
    /// Credit may be due.
    taken: Hint,
}

#[derive(Default)]
struct State {
    /// Each as long as what it holds, or [`SHORT_LEN`].
    pieces: VecDeque<Vec<u8>>,
    /// Whether no more will come.
    is_over: bool,
    /// Bytes that the command has got and the session has not been told of.
    taken: u64,
}

/// Our end of a command's stdin, and what its descriptor takes of the budget.
pub(super) struct Open {
    pipe: Pipe,
    _permit: Option<OwnedSemaphorePermit>,
    _window: Option<OwnedSemaphorePermit>,
}

impl Open {
    /// To be called before STARTED is sent.
    pub(super) fn new(
        conversation: &Conversation<'_>,
        pipe: Pipe,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Self {
        let window = conversation.common.wide_windows.0.clone();
        let window = window.try_acquire_owned().ok();
        if window.is_none() {
            conversation.session().keep_window_small();
        }
        Self {
            pipe,
            _permit: permit,
            _window: window,
        }
    }
}

impl StdinQueue {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::default(),
            changed: Hint::default(),
            taken: Hint::default(),
        }
    }

    pub(super) fn push(&self, data: Vec<u8>) {
        let mut state = self.state();
        let last = state.pieces.back_mut();
        match last.filter(|last| last.capacity() - last.len() >= data.len()) {
            Some(last) => last.extend_from_slice(&data),
            None if data.len() < SHORT_LEN => {
                let mut piece = Vec::with_capacity(SHORT_LEN);
                piece.extend_from_slice(&data);
                state.pieces.push_back(piece);
            }
            None => state.pieces.push_back(data),
        }
        self.changed.give();
    }

    pub(super) fn end(&self) {
        self.state().is_over = true;
        self.changed.give();
    }

    fn take(&self) -> Option<Vec<u8>> {
        self.state().pieces.pop_front()
    }

    fn is_over(&self) -> bool {
        let state = self.state();
        state.is_over && state.pieces.is_empty()
    }

    fn count(&self, len: usize) {
        self.state().taken += len as u64;
        self.taken.give();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Moves stdin to the command until it is over; never resolves. To be polled behind what hears the client.
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
    let gone = async {
        conversation.gone().await;
        if on_disconnect == OnDisconnect::Kill {
            let _held = conversation.common.spawner.stdin_guard().hold();
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = moved => {}
        () = gone => {}
    }
    drop(open);
    std::future::pending().await
}

/// Breaks once no process reads the command's stdin any more.
async fn move_all(conversation: &Conversation<'_>, open: &Open) -> ControlFlow<()> {
    let queue = &conversation.stdin;
    let (mut held, hold) = (None, || conversation.common.spawner.stdin_guard().hold());
    while !queue.is_over() {
        if let Some(data) = queue.take() {
            for piece in data.chunks(PIECE_LEN) {
                let fed = {
                    let mut feed = pin!(pump::feed(&open.pipe, piece));
                    // A pipe that takes all at once is not worth a process that guards it.
                    match poll_once(feed.as_mut()).await {
                        Some(fed) => fed,
                        None => {
                            held.get_or_insert_with(hold);
                            feed.await
                        }
                    }
                };
                if !matches!(fed, Ok(ControlFlow::Continue(()))) {
                    return ControlFlow::Break(());
                }
                queue.count(piece.len());
            }
            continue;
        }
        held.get_or_insert_with(hold);
        tokio::select! {
            biased;
            () = queue.changed.given() => {}
            () = pump::closed(&open.pipe) => return ControlFlow::Break(()),
        }
    }
    ControlFlow::Continue(())
}

/// What a future resolves to, if it does so at once.
async fn poll_once<T>(mut future: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Returns credit to the client as its stdin is taken; never resolves. To be polled behind [`feed`].
pub(super) async fn return_credit<T>(conversation: &Conversation<'_>) -> T {
    loop {
        let taken = std::mem::take(&mut conversation.stdin.state().taken);
        let mut credit = conversation.session().stdin_taken(taken);
        while let Some(frame) = credit {
            conversation.say(|_| Ok(frame), None).await;
            credit = conversation.session().credit_written();
        }
        conversation.stdin.taken.given().await;
    }
}
