//! A run whose streams the caller has: what both drivers' `Child` are made of.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::Error;
use crate::connection::{Collected, Connection, Forgotten, Interest, Output, Progress, TimeLimit};
use crate::proto::{ExitStatus, SignalTo};

/// Our ends of a command's pipes: stdin, stdout, stderr.
pub(crate) type Pipes = [Option<OwnedFd>; 3];

/// The connection of a spawned run: no output comes by it.
pub(crate) type Run = Connection<Collected<Forgotten>>;

/// What is known when it is over.
type Outcome = Output<Forgotten>;

#[derive(Debug)]
pub(crate) struct Spawned {
    /// `None` once it is over: then the connection is closed.
    pub(crate) run: Option<Run>,
    pub(crate) time: TimeLimit,
    pid: u32,
    /// `None` if it is over and how it ended is not known.
    status: Option<ExitStatus>,
}

impl Spawned {
    pub(super) fn new(run: Run, timeout: Option<Duration>) -> Self {
        Self {
            run: Some(run),
            time: TimeLimit::new(timeout),
            pid: 0,
            status: None,
        }
    }

    /// The leader's process id as the server sees it.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// How the run ended, once it is over. An error was returned before.
    pub(crate) fn status(&self) -> Result<ExitStatus, Error> {
        self.status.ok_or_else(|| Error::Disconnected {
            sent: true,
            source: io::ErrorKind::NotConnected.into(),
        })
    }

    /// Keeps what a driver has found out; `None` if the run goes on.
    pub(crate) fn keep(
        &mut self,
        found: Result<Option<Outcome>, Error>,
    ) -> Result<Option<ExitStatus>, Error> {
        let pid = self.run.as_ref().and_then(Connection::pid);
        self.pid = pid.unwrap_or(self.pid);
        match found {
            Ok(None) => Ok(None),
            Ok(Some(outcome)) => {
                self.run = None;
                self.status = Some(outcome.status);
                Ok(self.status)
            }
            Err(error) => {
                self.run = None;
                Err(error)
            }
        }
    }

    /// Looks whether it has ended, without waiting.
    pub(crate) fn try_wait(&mut self) -> Result<Option<ExitStatus>, Error> {
        let both = Interest {
            readable: true,
            writable: true,
        };
        match &mut self.run {
            Some(run) => {
                let found = run.on_ready(both).map(outcome);
                self.keep(found)
            }
            None => self.status().map(Some),
        }
    }

    /// Sends a signal as far as that is possible without waiting: a frame nearly always is. A run that
    /// has ended needs none.
    pub(crate) fn signal(&mut self, number: u8, to: SignalTo) -> Result<(), Error> {
        self.send(|run| run.signal(number, to))
    }

    /// Asks for the end of the whole tree, likewise.
    pub(crate) fn cancel(&mut self) -> Result<(), Error> {
        self.send(Run::cancel)
    }

    fn send(&mut self, ask: impl FnOnce(&mut Run) -> Result<(), Error>) -> Result<(), Error> {
        let Some(run) = &mut self.run else {
            return Ok(());
        };
        ask(run)?;
        let found = run.on_ready(Interest::WRITABLE).map(outcome);
        self.keep(found).map(drop)
    }
}

fn outcome(progress: Progress<Outcome>) -> Option<Outcome> {
    match progress {
        Progress::Done(outcome) => Some(outcome),
        Progress::Wait | Progress::Yield | Progress::Retry(_) | Progress::Reconnect => None,
    }
}

/// SIGKILL.
pub(crate) const KILL: u8 = 9;

/// Once the leader has exited, what others still hold of its pipes is read until they are silent for so
/// long.
pub(crate) const SILENCE: Duration = Duration::from_millis(100);

/// … and for no longer than this.
pub(crate) const LINGER: Duration = Duration::from_secs(1);
