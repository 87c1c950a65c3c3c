//! What a classic run prints, from its first byte to the moment when it counts as complete.

use std::io;
use std::sync::OnceLock;

use super::spill::limits::Full;
use super::spill::room::Room;
use super::spool::Spool;
use crate::process::pump::Sink;
use crate::process::{Leader, Pipe};
use crate::server::activity::Activity;
use crate::server::completion::{Output, Rules, Stop, complete};

/// Both streams of a run that is over.
pub(crate) struct Outputs {
    pub(crate) stdout: Spool,
    pub(crate) stderr: Spool,
    /// Whether both streams came to their ends: no process holds them any more.
    pub(crate) at_end: bool,
    /// Whether the leader lives on although it was killed.
    pub(crate) unkillable: bool,
    /// Why output is missing, if some is; the run was killed for it.
    pub(crate) cut: Option<io::Error>,
}

/// Why the server ends a classic run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Its output cannot be kept, see [`Outputs::cut`].
    Full,
    /// No stdin came for too long while descriptors were short.
    HeldBack,
}

/// Keeps both streams until the run is over, as `rules` say.
pub(crate) async fn collect(
    leader: &Leader,
    pipes: [Option<Pipe>; 2],
    room: &Room<'_>,
    rules: &Rules<'_, Reason>,
) -> Outputs {
    let cut = OnceLock::new();
    let keep = || Kept {
        spool: Spool::new(room.allowance.clone()),
        room,
        cut: &cut,
        stop: rules.stop,
    };
    let (mut stdout, mut stderr) = (keep(), keep());
    let activity = Activity::new();
    let sinks = [&mut stdout, &mut stderr];
    let completion = complete(leader, pipes, sinks, &activity, rules).await;
    let (stdout, stderr) = (stdout.spool, stderr.spool);
    Outputs {
        stdout,
        stderr,
        at_end: completion.at_end,
        unkillable: completion.ended.is_some_and(|ended| ended.has_leader),
        cut: cut.into_inner(),
    }
}

/// One stream on its way into a [`Spool`].
struct Kept<'a> {
    spool: Spool,
    room: &'a Room<'a>,
    /// Why one of the streams is not kept any more.
    cut: &'a OnceLock<io::Error>,
    stop: &'a Stop<Reason>,
}

impl Sink for Kept<'_> {
    fn buffer(&mut self) -> io::Result<&mut Vec<u8>> {
        self.spool.buffer()
    }

    async fn make_room(&mut self) -> io::Result<()> {
        loop {
            match self.spool.make_room().await {
                Err(error)
                    if Full::of(&error) == Some(Full::ForNow)
                        && Box::pin(self.room.wait()).await => {}
                made => return made,
            }
        }
    }
}

impl Output for Kept<'_> {
    async fn end(&mut self) {}

    fn fail(&mut self, error: io::Error) {
        let _ = self.cut.set(error);
        self.stop.stop(Reason::Full);
    }

    fn has_failed(&self) -> bool {
        self.cut.get().is_some()
    }
}
