//! When the output of a run is over: at the end of its streams, or when they count as complete although
//! other processes still hold them.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::Notify;

use super::activity::Activity;
use super::shutdown::Shutdown;
use crate::process::pump::{self, PIPE_LEN, Sink};
use crate::process::{Ended, Leader, Pipe};

/// The longest that the streams of a killed run are read on.
const AFTER_KILL: Duration = Duration::from_secs(1);

/// How long to read, and what ends the run.
pub(crate) struct Rules<'a, R> {
    /// After the leader's exit streams that others hold are read for this long at most; `None`: to
    /// their ends.
    pub(crate) linger: Option<Duration>,
    /// From SIGTERM to SIGKILL.
    pub(crate) grace: Duration,
    pub(crate) shutdown: &'a Shutdown,
    /// Ends the run, too.
    pub(crate) stop: &'a Stop<R>,
}

/// What ends a run before its time, and why: the first reason counts.
pub(crate) struct Stop<R> {
    reason: OnceLock<R>,
    stopped: Notify,
}

/// Where one stream of a run goes.
pub(crate) trait Output: Sink {
    /// Takes in that the stream is at its end.
    async fn end(&mut self);

    /// Takes in that [`make_room`](Sink::make_room) has failed: no more of the run is taken. What stops
    /// the run for that is told here.
    fn fail(&mut self, error: io::Error);

    /// Whether a stream of the run has failed.
    fn has_failed(&self) -> bool;
}

/// How the output of a run came to be complete. The leader has exited, or nothing ends it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Completion {
    /// Whether all streams came to their ends: no process holds them any more.
    pub(crate) at_end: bool,
    /// What came of the end of the tree, if the run was ended.
    pub(crate) ended: Option<Ended>,
}

impl<R> Stop<R> {
    pub(crate) fn new() -> Self {
        Self {
            reason: OnceLock::new(),
            stopped: Notify::new(),
        }
    }

    /// Ends the run, unless something else has done so before.
    pub(crate) fn stop(&self, reason: R) {
        let _ = self.reason.set(reason);
        self.stopped.notify_one();
    }

    pub(crate) fn reason(&self) -> Option<&R> {
        self.reason.get()
    }
}

/// Reads both pipes to their ends, or to what `rules` take for it, and waits for the leader's exit.
/// The rest of a stream that has failed is read and forgotten.
pub(crate) async fn complete<S: Output, R>(
    leader: &Leader,
    pipes: [Option<Pipe>; 2],
    sinks: [&mut S; 2],
    activity: &Activity,
    rules: &Rules<'_, R>,
) -> Completion {
    let [mut first, mut second] = sinks.map(|sink| Watched { sink, activity });
    let is_ending = AtomicBool::new(false);
    // A run that is to be ended is ended, even if its leader is quicker: it may die of a pipe that its
    // client has closed, too, and leave the rest of its tree.
    let is_to_end = || is_ending.load(Relaxed) || rules.stop.reason().is_some();
    let ended = {
        let whole = async {
            tokio::join!(
                read_all(pipes[0].as_ref(), &mut first),
                read_all(pipes[1].as_ref(), &mut second)
            );
            leader.exited().await;
        };
        tokio::select! {
            biased;
            () = whole => {
                // The tree may be larger than what holds the streams.
                let ended = match is_to_end() {
                    true => Some(leader.terminate(rules.grace).await),
                    false => None,
                };
                return Completion { at_end: true, ended };
            }
            ended = end(leader, activity, rules, &is_ending, is_to_end) => ended,
        }
    };
    for (pipe, watched) in pipes.iter().zip([first, second]) {
        if let Some(pipe) = pipe {
            read_rest(pipe, watched).await;
        }
    }
    Completion {
        at_end: false,
        ended,
    }
}

async fn read_all<S: Output>(pipe: Option<&Pipe>, watched: &mut Watched<'_, S>) {
    let Some(pipe) = pipe else {
        return;
    };
    match pump::drain(pipe, watched).await {
        Ok(()) => watched.sink.end().await,
        Err(error) => {
            watched.sink.fail(error);
            let activity = watched.activity;
            let sink = &mut Nowhere::default();
            let _ = pump::drain(pipe, &mut Watched { sink, activity }).await;
        }
    }
}

/// What is in the pipe at this moment belongs to the output.
async fn read_rest<S: Output>(pipe: &Pipe, mut watched: Watched<'_, S>) {
    if watched.sink.has_failed() {
        return;
    }
    if let Err(error) = pump::drain_now(pipe, &mut watched).await {
        watched.sink.fail(error);
    }
}

/// Resolves when the streams count as complete although others may still hold them; returns what came of
/// the end of the tree, if that was ended.
async fn end<R>(
    leader: &Leader,
    activity: &Activity,
    rules: &Rules<'_, R>,
    is_ending: &AtomicBool,
    is_to_end: impl Fn() -> bool,
) -> Option<Ended> {
    // What comes after a leader's life is on the heap, so that a run that waits for its end is small.
    let killed = async {
        tokio::select! {
            () = rules.shutdown.killing() => {}
            () = rules.stop.stopped.notified() => {}
        }
        is_ending.store(true, Relaxed);
        Box::pin(async {
            let ended = leader.terminate(rules.grace).await;
            activity.silence(AFTER_KILL).await;
            Some(ended)
        })
        .await
    };
    let lingered = async {
        match rules.linger {
            Some(linger) => {
                leader.exited().await;
                Box::pin(activity.silence(linger)).await;
            }
            None => std::future::pending().await,
        }
        // What was ended while its streams were read is told when it has ended.
        match is_to_end() {
            true => Some(Box::pin(leader.terminate(rules.grace)).await),
            false => None,
        }
    };
    tokio::select! {
        end = killed => end,
        end = lingered => end,
    }
}

/// A sink that tells an [`Activity`] of every read.
struct Watched<'a, S> {
    sink: &'a mut S,
    activity: &'a Activity,
}

impl<S: Sink> Sink for Watched<'_, S> {
    fn buffer(&mut self) -> io::Result<&mut Vec<u8>> {
        self.sink.buffer()
    }

    async fn make_room(&mut self) -> io::Result<()> {
        let _making_room = self.activity.make_room();
        self.sink.make_room().await
    }
}

/// Takes everything and keeps nothing: what a cut stream goes on into.
#[derive(Default)]
struct Nowhere(Vec<u8>);

impl Sink for Nowhere {
    fn buffer(&mut self) -> io::Result<&mut Vec<u8>> {
        let refused = |_| io::Error::from(io::ErrorKind::OutOfMemory);
        self.0.try_reserve(PIPE_LEN).map_err(refused)?;
        Ok(&mut self.0)
    }

    async fn make_room(&mut self) -> io::Result<()> {
        self.0.clear();
        Ok(())
    }
}
