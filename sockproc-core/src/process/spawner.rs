//! Starts commands, with what they inherit from the server.

use std::ffi::{CString, OsString, c_int};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Rlimit;
use tokio::sync::oneshot;

use super::Leaders;
use super::cgroup::Delegation;
use super::end::Ender;
use super::leader::Claim;
use super::newborn::Newborn;
use super::pipes::TheirEnds;
use super::slots::{Lent, Slots};
use super::spawn::{self, Place, Plan, Source};
use super::spec::{Spec, environment};
use super::start_error::{StartError, StartStep};
use super::stdin_guard::StdinGuard;
use super::sys;
use super::tree::Marks;
use crate::threads::Threads;

/// This many starts may hang in the kernel, as those of programs on a hung mount do.
const MAX_STARTS: usize = 64;

/// To copy so many descriptors takes no longer than to put three of them elsewhere and back.
const FEW_FDS: RawFd = 64;

/// Starts commands with what they inherit from this process, read once.
#[derive(Clone)]
pub(crate) struct Spawner {
    inherited: Arc<Inherited>,
    /// Where each run gets a cgroup of its own, if anywhere.
    delegation: Option<Delegation>,
    ender: Ender,
    /// Whether each command gets a session of its own.
    new_session: bool,
    /// A command gets SIGKILL when the thread that started it ends (`PR_SET_PDEATHSIG`, prctl(2)), so
    /// these live as long as the server and as every command of it.
    threads: Threads,
    slots: Arc<Slots>,
    stdin_guard: StdinGuard,
}

struct Inherited {
    environment: Vec<CString>,
    /// The limit on open files that commands get back when the server has raised its own.
    open_files: Option<Rlimit>,
    /// Signals that must be put back to their default: ignored or handled here.
    signals: Vec<c_int>,
}

/// A child that has executed its program. Dropped, it is ended and reaped.
pub(super) struct Started {
    pub(super) claim: Claim,
    pub(super) pidfd: OwnedFd,
}

impl Spawner {
    /// Reads environment and signal dispositions of this process; call it after the signal handlers
    /// are installed. `open_files` is the limit that commands are to see, if not ours; runs that are
    /// dropped have `grace` to end. So many commands as `slots` may be started at once without a copy of
    /// all descriptors.
    ///
    /// # Errors
    /// The kernel has no thread, or no descriptor.
    pub(crate) fn new(
        open_files: Option<Rlimit>,
        grace: Duration,
        slots: usize,
    ) -> io::Result<Self> {
        let inherited = Inherited {
            environment: environment(std::env::vars_os()),
            open_files,
            signals: (1..=sys::LAST_SIGNAL)
                .filter(|&signal| !sys::is_default(signal))
                .collect(),
        };
        let ender = Ender::start(grace)?;
        Ok(Self {
            inherited: Arc::new(inherited),
            delegation: None,
            new_session: false,
            threads: Threads::start("sockproc-spawn", MAX_STARTS)?,
            slots: Arc::new(Slots::new(slots)?),
            stdin_guard: StdinGuard::new(ender.leaders().clone()),
            ender,
        })
    }

    /// Gives each command this environment, where there is one, in place of that of this process.
    pub(crate) fn with_environment(mut self, variables: Option<Vec<(OsString, OsString)>>) -> Self {
        if let (Some(variables), Some(inherited)) = (variables, Arc::get_mut(&mut self.inherited)) {
            inherited.environment = environment(variables.into_iter());
        }
        self
    }

    /// Whether any command of ours has not been reaped.
    #[cfg(feature = "cli")]
    pub(crate) fn has_leaders(&self) -> bool {
        !self.leaders().all().is_empty()
    }

    /// Gives each run a cgroup of its own.
    pub(crate) fn with_cgroups(mut self, delegation: Option<Delegation>) -> Self {
        self.delegation = delegation;
        self
    }

    /// Gives each command a session of its own.
    pub(crate) fn with_sessions(mut self, new_session: bool) -> Self {
        self.new_session = new_session;
        self
    }

    /// Waits for orphans that have exited, and removes what they leave behind. Returns whether this
    /// process has any child left, or any of its runs a cgroup.
    pub(crate) fn reap_orphans(&self) -> bool {
        let is_child_left = self.leaders().reap_orphans();
        let is_cgroup_left = self.delegation.as_ref().is_some_and(Delegation::sweep);
        is_child_left || is_cgroup_left
    }

    /// Resolves when there may be something for [`reap_orphans`](Self::reap_orphans) to do, after it
    /// has found nothing left.
    pub(crate) async fn wait_for_orphans(&self) {
        let leftover = async {
            match &self.delegation {
                Some(delegation) => delegation.wait_for_leftover().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.leaders().wait_for_birth() => {}
            () = leftover => {}
        }
    }

    pub(crate) fn leaders(&self) -> &Leaders {
        self.ender.leaders()
    }

    pub(crate) fn stdin_guard(&self) -> &StdinGuard {
        &self.stdin_guard
    }

    /// Starts `spec` on a thread where it may block; waits until it has been executed.
    ///
    /// # Cancel safety
    /// If the future is dropped, a command that starts all the same is ended.
    pub(super) async fn spawn(
        &self,
        spec: Arc<Spec>,
        pipes: TheirEnds,
        newborn: &Arc<Newborn>,
    ) -> Result<Started, StartError> {
        let (tell, told) = oneshot::channel();
        let (spawner, newborn) = (self.clone(), newborn.clone());
        // Dropped here if no one waits any more: that ends the command.
        self.threads.run(
            move || spawner.spawn_here(&spec, &pipes, &newborn),
            move |started| drop(tell.send(started)),
        );
        let lost = |error| StartError::new(StartStep::Prepare, io::Error::other(error));
        told.await.map_err(lost)?
    }

    fn place(&self, spec: &Spec) -> Place {
        match spec.place {
            Place::OwnGroup if self.new_session => Place::Session,
            place => place,
        }
    }

    fn spawn_here(
        &self,
        spec: &Spec,
        pipes: &TheirEnds,
        newborn: &Arc<Newborn>,
    ) -> Result<Started, StartError> {
        let entered = self.delegation.as_ref().map(Delegation::add).transpose();
        let (cgroup, procs) = entered.map_err(StartError::at(StartStep::Cgroup))?.unzip();
        let place = self.place(spec);
        let marks = Marks {
            pipes: pipes.marks().map_err(StartError::at(StartStep::Pipe))?,
            cgroup: cgroup.map(Arc::new),
            has_terminal: place == Place::Terminal,
            _threads: Some(self.threads.clone()),
        };
        let environment = spec.environment(&self.inherited.environment)?;
        let programs = spec.programs(&environment)?;
        let mut fds = spec.fds(pipes)?;
        let lent = self.lend(spec, pipes, &mut fds);
        let (pid, pidfd) = self.leaders().add_leader(newborn, |newborn| {
            let mut plan = Plan {
                programs: &programs,
                argv: spawn::null_ended(&spec.argv),
                environment: spawn::null_ended(&environment),
                fds: &fds,
                kept: &spec.kept(),
                place,
                cwd: spec.cwd.as_ref(),
                umask: spec.umask,
                identity: spec.identity.as_ref(),
                cgroup: procs.as_ref().map(AsRawFd::as_raw_fd),
                open_files: self.inherited.open_files.as_ref(),
                slots: lent.as_ref(),
                unshare_errno: 0,
                signals: &self.inherited.signals,
                ignored: &spec.ignored,
                parent: 0,
                newborn,
                faults: None,
                fault: None,
            };
            let (pid, pidfd) = plan.execute()?;
            newborn.end(pid).map_err(StartError::at(StartStep::Clone))?;
            Ok::<_, StartError>((pid, pidfd))
        })?;
        let claim = Claim::new(pid, marks, self.ender.clone());
        Ok(Started { claim, pidfd })
    }

    /// Puts the ends of the run's pipes where its child need not copy all of our descriptors.
    fn lend(
        &self,
        spec: &Spec,
        pipes: &TheirEnds,
        fds: &mut [(Source, RawFd)],
    ) -> Option<Lent<'_>> {
        // What a client has passed is not put anywhere: closing it again may take as long as it likes.
        if !spec.passes_nothing() || spec.identity.is_some() {
            return None;
        }
        let ours = [0, 1, 2].map(|number| pipes.0[number].as_ref().map(AsFd::as_fd));
        // The kernel gives the lowest free number: where these are low, few are open.
        let is_low = |fd: &BorrowedFd<'_>| fd.as_raw_fd() < FEW_FDS;
        if ours.iter().flatten().all(is_low) {
            return None;
        }
        self.slots.lend(fds, ours)
    }
}
