//! One run, whatever the protocol that asked for it: how it starts, and how its leader is reaped.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Common;
use super::budget::RunPermit;
use crate::process::{Leader, Passed, Process, Reaped, Spec, StartError, StartStep};
use crate::proto::{Invocation, Refusal, RefusalKind, Request};

/// Why a request with room for its run was not started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotStarted {
    #[error("the server is shutting down")]
    ShuttingDown,
    #[error("cannot spawn: {}", .0.source)]
    Failed(#[from] StartError),
}

/// Starts what `request` asks for; `passed` are its descriptors. The caller has room for the run.
///
/// # Cancel safety
/// If the future is dropped, a command that starts all the same is ended.
pub(crate) async fn start(
    common: &Common,
    request: &Request,
    passed: Vec<Passed>,
) -> Result<Process, NotStarted> {
    let spec = Arc::new(Spec::new(request, passed)?);
    let _room = common.budget.spawn().await;
    // The room may be that of a command which has been killed.
    if common.shutdown.is_killing() {
        return Err(NotStarted::ShuttingDown);
    }
    Ok(spawn(common, &spec).await?)
}

/// For a moment there may be no descriptor left, while those that strangers have sent are being closed:
/// no more of them come until the command is started.
async fn spawn(common: &Common, spec: &Arc<Spec>) -> Result<Process, StartError> {
    const PATIENCE: Duration = Duration::from_secs(1);
    const PAUSE: Duration = Duration::from_millis(5);
    let (begin, mut pause) = (Instant::now(), None);
    loop {
        match Process::spawn(&common.spawner, spec.clone()).await {
            Err(error) if error.is_short_of_descriptors() && begin.elapsed() < PATIENCE => {
                pause.get_or_insert_with(|| common.strangers.pause());
                tokio::time::sleep(PAUSE).await;
            }
            spawned => return spawned,
        }
    }
}

/// Waits for a leader that has exited, and frees what its run has taken.
///
/// # Errors
/// The wait status is lost.
pub(crate) async fn reap(leader: Leader, permit: RunPermit) -> io::Result<Reaped> {
    let reaped = leader.reap().await;
    drop(permit);
    reaped
}

/// Leaves a leader that lives on although it was killed: its number and its descriptors are taken until
/// it dies.
pub(crate) fn leave(leader: Leader, permit: RunPermit) {
    tokio::spawn(reap(leader, permit));
}

impl NotStarted {
    /// As [`Refusal::from`], and its message names the value of the request at which the kernel failed.
    pub(crate) fn refusal(self, request: &Request) -> Refusal {
        let named = match &self {
            Self::Failed(StartError { step, source }) => value_of(*step, request)
                .map(|value| format!("{step} \"{}\": {source}", value.escape_ascii())),
            Self::ShuttingDown => None,
        };
        let mut refusal = Refusal::from(self);
        refusal.message = named.unwrap_or(refusal.message);
        refusal
    }
}

/// What a step works on.
fn value_of(step: StartStep, request: &Request) -> Option<&Bytes> {
    match (step, &request.invocation) {
        (StartStep::Exec, Invocation::Argv(argv)) => {
            request.programs.first().or_else(|| argv.words().first())
        }
        (StartStep::Chdir, _) => request.cwd.as_ref(),
        _ => None,
    }
}

impl From<NotStarted> for Refusal {
    fn from(reason: NotStarted) -> Self {
        match &reason {
            NotStarted::ShuttingDown => Self::new(RefusalKind::ShuttingDown, reason),
            NotStarted::Failed(error) if error.step == StartStep::Prepare => {
                Self::new(RefusalKind::BadRequest, reason)
            }
            NotStarted::Failed(error) => {
                let mut refusal = Self::new(RefusalKind::CannotSpawn, &reason);
                refusal.step = Some(error.step.name().to_owned());
                refusal.errno = error.errno();
                refusal
            }
        }
    }
}
