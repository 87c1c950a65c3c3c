//! One run, whatever the protocol that asked for it: how it starts, and how its leader is reaped.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::sleep;

use super::Common;
use super::budget::RunPermit;
use crate::process::{Leader, Newborn, Passed, Process, Reaped, Spec, StartError, StartStep};
use crate::proto::{Invocation, Refusal, RefusalKind, Request};

/// Why a request with room for its run was not started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotStarted {
    #[error("the server is shutting down")]
    ShuttingDown,
    #[error("too many requests wait for room already (--max-queue)")]
    Busy,
    #[error("cannot spawn: {}", .0.source)]
    Failed(#[from] StartError),
}

/// A request that was not started, although there was room for its run.
pub(crate) enum Unstarted<T> {
    Failed(NotStarted),
    /// It has never been executed, for this reason.
    GivenUp(T),
}

/// A start that was given up and does not end within this time hangs in the kernel, uninterruptibly.
const END_OF_START: Duration = Duration::from_millis(100);

/// Time between two attempts to end a start, or looks at whether it has ended.
const LOOK: Duration = Duration::from_millis(10);

/// Starts what `request` asks for; `passed` are its descriptors, and `permit` is the room for the run.
/// The start is given up when `given_up` resolves: a program or a directory may be on a mount that hangs.
///
/// # Cancel safety
/// If the future is dropped, a command that starts all the same is ended.
pub(crate) async fn start<T>(
    common: &Common,
    request: &Request,
    passed: Vec<Passed>,
    permit: RunPermit,
    given_up: impl Future<Output = T>,
) -> Result<(Process, RunPermit), Unstarted<T>> {
    let newborn = Arc::default();
    let reason = {
        let mut started = pin!(try_start(common, request, passed, &newborn));
        let reason = tokio::select! {
            biased;
            started = &mut started => return match started {
                Ok(process) => Ok((process, permit)),
                Err(reason) => Err(Unstarted::Failed(reason)),
            },
            reason = given_up => reason,
        };
        let give_up = async {
            loop {
                newborn.give_up();
                sleep(LOOK).await;
            }
        };
        tokio::select! {
            biased;
            // It may have been executed in the last moment: then it is a run.
            started = started => if let Ok(process) = started {
                return Ok((process, permit));
            },
            never = give_up => never,
            () = sleep(END_OF_START) => {}
        }
        reason
    };
    leave_start(newborn, permit);
    Err(Unstarted::GivenUp(reason))
}

/// Leaves a start that hangs, and never executes anything: it keeps its descriptors until it ends.
fn leave_start(newborn: Arc<Newborn>, permit: RunPermit) {
    // The thread that makes the start holds the other one.
    if Arc::strong_count(&newborn) > 1 {
        tokio::spawn(async move {
            while Arc::strong_count(&newborn) > 1 {
                sleep(LOOK).await;
            }
            drop(permit);
        });
    }
}

async fn try_start(
    common: &Common,
    request: &Request,
    passed: Vec<Passed>,
    newborn: &Arc<Newborn>,
) -> Result<Process, NotStarted> {
    let spec = Arc::new(Spec::new(request, passed)?);
    let _room = common.budget.spawn().await;
    // The room may be that of a command which has been killed.
    if common.shutdown.is_killing() {
        return Err(NotStarted::ShuttingDown);
    }
    Ok(spawn(common, &spec, newborn).await?)
}

/// For a moment there may be no descriptor left, while those that strangers have sent are being closed:
/// no more of them come until the command is started.
async fn spawn(
    common: &Common,
    spec: &Arc<Spec>,
    newborn: &Arc<Newborn>,
) -> Result<Process, StartError> {
    const PATIENCE: Duration = Duration::from_secs(1);
    const PAUSE: Duration = Duration::from_millis(5);
    let (begin, mut pause) = (Instant::now(), None);
    loop {
        match Process::spawn(&common.spawner, spec.clone(), newborn).await {
            Err(error) if error.is_short_of_descriptors() && begin.elapsed() < PATIENCE => {
                pause.get_or_insert_with(|| common.strangers.pause());
                sleep(PAUSE).await;
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
            Self::ShuttingDown | Self::Busy => None,
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
            NotStarted::Busy => Self::new(RefusalKind::Busy, reason),
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
