//! A native run from its start to EXITED.

use std::time::{Duration, Instant};

use rustix::io::fcntl_dupfd_cloexec;
use tokio::task::yield_now;
use tokio::time::sleep;
use tracing::{info, warn};

use super::conversation::Conversation;
use super::output::{Frames, Tally};
use super::stdin::{self, Open};
use crate::process::{Leader, Process, Reaped};
use crate::proto::native::ServerSession;
use crate::proto::{
    EndedBy, Exit, ExitStatus, Limits, Millis, OnDisconnect, Request, Stream, StreamMode,
};
use crate::server::accepted::Transport;
use crate::server::activity::Activity;
use crate::server::budget::RunPermit;
use crate::server::completion::{Completion, Rules, Stop, complete};
use crate::server::peer::Peer;
use crate::server::run;

/// How long streams that others hold are read after the leader's exit.
const LINGER: Duration = Duration::from_secs(1);

/// Why the server ends a native run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// For a reason that its client is told.
    Said(EndedBy),
    /// Its client has gone.
    Gone,
}

/// A run on its way, and what still counts of its request.
pub(super) struct Run<'a> {
    conversation: &'a Conversation<'a>,
    id: u64,
    limits: Limits,
    on_disconnect: OnDisconnect,
    /// Whether output goes to a descriptor that the client has passed.
    passes_output: bool,
    wants_pidfd: bool,
}

impl<'a> Run<'a> {
    pub(super) fn new(conversation: &'a Conversation<'a>, request: &Request, id: u64) -> Self {
        let outputs = [request.stdout, request.stderr];
        Self {
            conversation,
            id,
            limits: request.limits,
            on_disconnect: request.on_disconnect.unwrap_or(OnDisconnect::Kill),
            passes_output: outputs.contains(&StreamMode::Descriptor),
            wants_pidfd: request.pidfd,
        }
    }

    /// Owns a command until it is reaped, and tells its client everything of it.
    pub(super) fn supervise(
        self,
        process: Process,
        mut permit: RunPermit,
    ) -> impl Future<Output = ()> {
        let Process {
            leader,
            stdin,
            stdout,
            stderr,
        } = process;
        let (begun, pid) = (Instant::now(), leader.pid());
        info!(id = self.id, peer = %Peer(&self.conversation.socket), pid, "started");
        let permit_of_stdin = permit.take_stdin();
        let open = stdin.map(|pipe| Open::new(self.conversation, pipe, permit_of_stdin));
        // Not an `async fn`, whose future has room twice for what it is handed.
        async move {
            let conversation = self.conversation;
            let (stop, activity) = (Stop::new(), Activity::new());
            let tally = Tally::new(&self.limits, &stop);
            let frames = |stream, is_piped| Frames::new(conversation, &tally, stream, is_piped);
            let mut out = frames(Stream::Stdout, stdout.is_some());
            let mut err = frames(Stream::Stderr, stderr.is_some());
            let rules = self.rules(&stop);
            // Boxed, as a future that is handed on takes its room at every step.
            let complete = Box::pin(complete(
                &leader,
                [stdout, stderr],
                [&mut out, &mut err],
                &activity,
                &rules,
            ));
            let completion = tokio::select! {
                biased;
                never = self.serve_client(&leader, open, &activity, &stop) => never,
                completion = complete => completion,
            };
            let completion = self.hear_last(&leader, completion, &rules).await;
            conversation.let_be_left();
            out.finish().await;
            err.finish().await;
            let mut exit = self.exit(&leader, completion, &stop).await;
            (exit.stdout, exit.stderr) = tally.moved();
            Box::pin(self.reap(leader, permit, completion, &mut exit)).await;
            exit.wall_us = micros(begun.elapsed());
            self.log(pid, &exit);
            let exited = |session: &mut ServerSession| session.send_exited(&exit);
            conversation.say(exited, None).await;
        }
    }

    /// A client that gives up closes its socket before the pipes that it reads. A leader that dies of such
    /// a pipe may be seen first, as the client was heard at the beginning of this step: so hear it again,
    /// or the rest of the tree would live on.
    async fn hear_last(
        &self,
        leader: &Leader,
        completion: Completion,
        rules: &Rules<'_, Why>,
    ) -> Completion {
        if completion.ended.is_some() || !self.passes_output {
            return completion;
        }
        yield_now().await;
        let why = if self.conversation.cancelled.get().is_some() {
            Why::Said(EndedBy::Cancel)
        } else if self.conversation.is_gone() && self.on_disconnect == OnDisconnect::Kill {
            Why::Gone
        } else {
            return completion;
        };
        rules.stop.stop(why);
        let ended = Some(leader.terminate(rules.grace).await);
        Completion {
            ended,
            ..completion
        }
    }

    /// Everything that goes on beside the output; never resolves.
    async fn serve_client<T>(
        &self,
        leader: &Leader,
        open: Option<Open>,
        activity: &Activity,
        stop: &Stop<Why>,
    ) -> T {
        let conversation = self.conversation;
        tokio::select! {
            biased;
            // The first frame of all.
            never = self.tell_started(leader) => never,
            never = Box::pin(stdin::feed(conversation, open, self.on_disconnect)) => never,
            never = stdin::return_credit(conversation) => never,
            never = conversation.signals.deliver(leader) => never,
            never = self.watch(leader, activity, stop) => never,
        }
    }

    fn rules<'b>(&'b self, stop: &'b Stop<Why>) -> Rules<'b, Why> {
        let (limits, common) = (&self.limits, self.conversation.common);
        Rules {
            linger: Some(limits.linger.map_or(LINGER, duration)),
            grace: limits.grace.map_or(common.config.kill_grace, duration),
            shutdown: &common.shutdown,
            stop,
        }
    }

    /// Says that the command runs; what was held until then is heard now. Never resolves.
    async fn tell_started<T>(&self, leader: &Leader) -> T {
        let conversation = self.conversation;
        let wants_pidfd = self.wants_pidfd && conversation.socket.transport() == Transport::Unix;
        let pidfd = wants_pidfd.then(|| fcntl_dupfd_cloexec(leader.pidfd(), 3).ok());
        let pid = leader.pid().unsigned_abs();
        let started = |session: &mut ServerSession| session.send_started(pid);
        conversation.say(started, pidfd.flatten()).await;
        conversation.see_to_events().await;
        never().await
    }

    /// Ends the run when one of its limits is reached, or its client wants it; never resolves.
    async fn watch<T>(&self, leader: &Leader, activity: &Activity, stop: &Stop<Why>) -> T {
        let limits = &self.limits;
        let idle = async {
            match limits.idle_timeout {
                Some(longest) => Box::pin(idle(leader, activity, longest)).await,
                None => never().await,
            }
        };
        let gone = async {
            self.conversation.gone().await;
            if self.on_disconnect == OnDisconnect::Finish {
                never().await
            }
        };
        let why = tokio::select! {
            biased;
            _ = self.conversation.cancelled.wait() => Why::Said(EndedBy::Cancel),
            () = gone => Why::Gone,
            () = after(limits.timeout) => Why::Said(EndedBy::Timeout),
            () = idle => Why::Said(EndedBy::IdleTimeout),
        };
        stop.stop(why);
        never().await
    }

    /// What is known before the leader is reaped.
    async fn exit(&self, leader: &Leader, completion: Completion, stop: &Stop<Why>) -> Exit {
        let mut exit = Exit::default();
        let survivors = match completion.ended {
            Some(ended) => Some(ended.survivors),
            None if completion.at_end => None,
            None => Some(leader.count_survivors().await),
        };
        if let Some(survivors) = survivors {
            exit.survivors = u32::try_from(survivors).unwrap_or(u32::MAX);
            exit.tree = Some(leader.reach());
        }
        exit.ended_by = match (stop.reason(), completion.ended) {
            // It has gone past its limit even if it has ended by itself since.
            (Some(Why::Said(EndedBy::OutputLimit)), _) => Some(EndedBy::OutputLimit),
            (Some(Why::Said(reason)), Some(_)) => Some(*reason),
            (None, Some(_)) => Some(EndedBy::Shutdown),
            _ => None,
        };
        exit
    }

    /// Waits for the leader, unless nothing ends it.
    async fn reap(
        &self,
        leader: Leader,
        permit: RunPermit,
        completion: Completion,
        exit: &mut Exit,
    ) {
        let pid = leader.pid();
        if completion.ended.is_some_and(|ended| ended.has_leader) {
            return run::leave(leader, permit);
        }
        match run::reap(leader, permit).await {
            Ok(reaped) => set_reaped(exit, reaped),
            Err(error) => warn!(id = self.id, pid, %error, "wait status lost"),
        }
    }

    fn log(&self, pid: i32, exit: &Exit) {
        let (id, status, ms) = (self.id, exit.status, exit.wall_us / 1000);
        let (ended_by, survivors) = (exit.ended_by, exit.survivors);
        info!(id, pid, ms, ?ended_by, survivors, %status, "exited");
    }
}

fn set_reaped(exit: &mut Exit, reaped: Reaped) {
    exit.status = ExitStatus::from(reaped.status);
    exit.user_us = micros(reaped.user);
    exit.system_us = micros(reaped.system);
}

/// Resolves once a run whose leader lives has been silent for `longest`.
async fn idle(leader: &Leader, activity: &Activity, longest: Millis) {
    tokio::select! {
        () = activity.idle(duration(longest)) => {}
        () = leader.exited() => never().await,
    }
}

/// Resolves after a limit, if there is one. Most runs have none, and no room for a timer.
pub(super) async fn after(limit: Option<Millis>) {
    match limit {
        Some(limit) => Box::pin(sleep(duration(limit))).await,
        None => never().await,
    }
}

async fn never<T>() -> T {
    std::future::pending().await
}

fn duration(limit: Millis) -> Duration {
    Duration::from_millis(limit.get())
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
