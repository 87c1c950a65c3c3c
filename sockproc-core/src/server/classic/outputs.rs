//! What a classic run prints, from its first byte to the moment when it counts as complete.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::spill::limits::Full;
use super::spill::room::Room;
use super::spool::{Nowhere, Spool};
use crate::process::pump::{self, Sink};
use crate::process::{Leader, Pipe};
use crate::server::shutdown::Shutdown;

/// Streams that others still hold are complete after so much silence.
const SILENCE: Duration = Duration::from_millis(100);

/// The longest that the streams of a killed run are read on.
const AFTER_KILL: Duration = Duration::from_secs(1);

/// Both streams of a run that is over.
pub(crate) struct Outputs {
    pub(crate) stdout: Spool,
    pub(crate) stderr: Spool,
    /// Whether both streams came to their ends: nobody holds them any more.
    pub(crate) at_end: bool,
    /// Whether the leader lives on although it was killed.
    pub(crate) unkillable: bool,
    /// Why output is missing, if some is; the run was killed for it.
    pub(crate) cut: Option<io::Error>,
}

/// How long to read, and what ends it.
pub(crate) struct Rules<'a> {
    /// See [`Config::classic_linger`](crate::server::Config::classic_linger).
    pub(crate) linger: Option<Duration>,
    pub(crate) kill_grace: Duration,
    pub(crate) shutdown: &'a Shutdown,
    pub(crate) room: Room<'a>,
    /// Ends the run, too.
    pub(crate) stop: &'a Stop,
}

/// What a run can be ended by, for a reason that its client is told.
#[derive(Default)]
pub(crate) struct Stop {
    reason: OnceLock<&'static str>,
    stopped: Notify,
}

impl Stop {
    pub(crate) fn stop(&self, reason: &'static str) {
        let _ = self.reason.set(reason);
        self.stopped.notify_one();
    }

    pub(crate) fn reason(&self) -> Option<&'static str> {
        self.reason.get().copied()
    }
}

/// Reads both pipes to their ends, or to what `rules` take for it, and waits for the leader's exit.
pub(crate) async fn collect(
    leader: &Leader,
    stdout_pipe: Pipe,
    stderr_pipe: Pipe,
    rules: Rules<'_>,
) -> Outputs {
    let activity = Activity::default();
    let mut stdout = Spool::new(rules.room.allowance.clone());
    let mut stderr = Spool::new(rules.room.allowance.clone());
    let ended = {
        let whole = async {
            tokio::join!(
                keep(&stdout_pipe, &mut stdout, &activity, &rules.room),
                keep(&stderr_pipe, &mut stderr, &activity, &rules.room),
            );
            leader.exited().await;
        };
        tokio::select! {
            biased;
            () = whole => None,
            end = end(leader, &activity, &rules) => Some(end),
        }
    };
    if ended.is_some() && activity.cut.get().is_none() {
        for (pipe, sink) in [(&stdout_pipe, &mut stdout), (&stderr_pipe, &mut stderr)] {
            let mut watched = Watched {
                sink,
                activity: &activity,
                room: &rules.room,
            };
            if let Err(error) = pump::drain_now(pipe, &mut watched).await {
                let _ = activity.cut.set(error);
            }
        }
    }
    Outputs {
        stdout,
        stderr,
        at_end: ended.is_none(),
        unkillable: ended == Some(End::Unkillable),
        cut: activity.cut.into_inner(),
    }
}

/// Keeps a stream until it ends; past what can be kept, reads on so that nobody is held up.
async fn keep(pipe: &Pipe, sink: &mut Spool, activity: &Activity, room: &Room<'_>) {
    let mut watched = Watched {
        sink,
        activity,
        room,
    };
    if let Err(error) = pump::drain(pipe, &mut watched).await {
        let _ = activity.cut.set(error);
        activity.full.notify_one();
        let mut watched = Watched {
            sink: &mut Nowhere::default(),
            activity,
            room,
        };
        let _ = pump::drain(pipe, &mut watched).await;
    }
}

/// Resolves when the streams count as complete although others may still hold them.
async fn end(leader: &Leader, activity: &Activity, rules: &Rules<'_>) -> End {
    let killed = async {
        tokio::select! {
            () = activity.full.notified() => {}
            () = rules.shutdown.killing() => {}
            () = rules.stop.stopped.notified() => {}
        }
        let exited = leader.terminate(rules.kill_grace).await;
        activity.silence(AFTER_KILL).await;
        if exited { End::Exited } else { End::Unkillable }
    };
    let lingered = async {
        match rules.linger {
            Some(linger) => {
                leader.exited().await;
                activity.silence(linger).await;
                End::Exited
            }
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        end = killed => end,
        end = lingered => end,
    }
}

/// What became of the leader of a run whose streams did not end.
#[derive(PartialEq, Eq)]
enum End {
    Exited,
    Unkillable,
}

/// What the two streams have in common.
#[derive(Default)]
struct Activity {
    /// Reads that brought something.
    reads: AtomicU64,
    /// Streams that are making room, so that silence means nothing.
    waiting: AtomicU64,
    cut: OnceLock<io::Error>,
    full: Notify,
}

impl Activity {
    /// Resolves after [`SILENCE`], counted only while both streams are being read, or after `longest`.
    async fn silence(&self, longest: Duration) {
        let begin = Instant::now();
        loop {
            let reads = self.reads.load(Relaxed);
            let left = longest.saturating_sub(begin.elapsed());
            tokio::time::sleep(SILENCE.min(left)).await;
            let silent = reads == self.reads.load(Relaxed);
            if self.waiting.load(Relaxed) == 0 && (silent || begin.elapsed() >= longest) {
                return;
            }
        }
    }
}

/// A sink that tells an [`Activity`] of every read.
struct Watched<'a, S> {
    sink: &'a mut S,
    activity: &'a Activity,
    room: &'a Room<'a>,
}

impl<S: Sink> Sink for Watched<'_, S> {
    fn buffer(&mut self) -> io::Result<&mut Vec<u8>> {
        self.sink.buffer()
    }

    async fn make_room(&mut self) -> io::Result<()> {
        self.activity.reads.fetch_add(1, Relaxed);
        self.activity.waiting.fetch_add(1, Relaxed);
        let made = loop {
            match self.sink.make_room().await {
                Err(error)
                    if Full::of(&error) == Some(Full::ForNow)
                        && Box::pin(self.room.wait()).await => {}
                made => break made,
            }
        };
        self.activity.waiting.fetch_sub(1, Relaxed);
        made
    }
}
