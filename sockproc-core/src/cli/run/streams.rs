//! The command's streams and ours, whichever way they come together.

use std::os::fd::{BorrowedFd, OwnedFd};

use bytes::Bytes;

use super::outcome::RunError;
use super::relay::{Relay, Source};
use super::request::Way;
use super::terminal::Terminal;
use crate::Stdin;
use crate::connection::{Connection, Events, Interest};
use crate::proto::Stream;

/// What we move while the command runs.
#[derive(Debug)]
pub(super) enum Streams {
    /// Nothing: the command has our descriptors.
    Passed,
    Relayed(Relay),
    Terminal(Terminal),
}

/// The command's side of the streams.
pub(super) struct ForServer {
    pub(super) stdin: Stdin,
    pub(super) descriptors: Vec<OwnedFd>,
}

impl Streams {
    /// Streams that go that `way`, and what the server is given for it.
    pub(super) fn open(
        way: Way,
        source: Option<Source>,
        is_merged: bool,
    ) -> Result<(Self, ForServer), RunError> {
        let mut stdin = Stdin::empty();
        let mut descriptors = Vec::new();
        let streams = match way {
            Way::Passed => {
                descriptors = passed(source.as_ref(), is_merged)?;
                Self::Passed
            }
            Way::Relayed => {
                if source.is_some() {
                    stdin = Stdin::streamed();
                }
                Self::Relayed(Relay::new(source))
            }
            Way::Terminal => {
                let terminal = Terminal::open()?;
                descriptors = terminal.far_ends()?;
                Self::Terminal(terminal)
            }
        };
        Ok((streams, ForServer { stdin, descriptors }))
    }

    /// The command runs.
    pub(super) fn begin(&mut self) -> Result<(), RunError> {
        match self {
            Self::Terminal(terminal) => terminal.begin(),
            Self::Passed | Self::Relayed(_) => Ok(()),
        }
    }

    /// More output of the command, from the server.
    pub(super) fn push(&mut self, stream: Stream, data: Bytes) {
        if let Self::Relayed(relay) = self {
            relay.push(stream, data);
        }
    }

    /// The command has ended.
    pub(super) fn end(&mut self) {
        if let Self::Terminal(terminal) = self {
            terminal.close_far_end();
        }
    }

    /// Our terminal may have changed.
    pub(super) fn follow_terminal(&mut self) -> Result<(), RunError> {
        match self {
            Self::Terminal(terminal) => terminal.follow(),
            Self::Passed | Self::Relayed(_) => Ok(()),
        }
    }

    /// Whether no output waits to be written.
    pub(super) fn is_drained(&self) -> bool {
        match self {
            Self::Passed => true,
            Self::Relayed(relay) => relay.is_drained(),
            Self::Terminal(terminal) => terminal.is_drained(),
        }
    }

    /// Whether there is nothing left to write, and nothing left to come from the command itself.
    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::Terminal(terminal) => terminal.is_over(),
            Self::Passed | Self::Relayed(_) => self.is_drained(),
        }
    }

    /// Whether the command's output passes the server, which counts it.
    pub(super) fn are_counted(&self) -> bool {
        matches!(self, Self::Relayed(_))
    }

    pub(super) fn wanted(&self, run: &Connection<Events>) -> [(BorrowedFd<'_>, Interest); 3] {
        match self {
            Self::Passed => [(rustix::stdio::stdin(), Interest::NONE); 3],
            Self::Relayed(relay) => relay.wanted(run),
            Self::Terminal(terminal) => terminal.wanted(),
        }
    }

    /// Moves what can be moved; returns whether the connection was given anything.
    pub(super) fn on_ready(
        &mut self,
        ready: [Interest; 3],
        run: &mut Connection<Events>,
    ) -> Result<bool, RunError> {
        match self {
            Self::Passed => Ok(false),
            Self::Relayed(relay) => relay.on_ready(ready, run),
            Self::Terminal(terminal) => {
                let has_gone = terminal.on_ready(ready)?;
                // The server hangs the command's terminal up.
                if has_gone {
                    run.cancel()?;
                }
                Ok(has_gone)
            }
        }
    }
}

/// Our descriptors, in the order of the streams that they are for.
fn passed(source: Option<&Source>, is_merged: bool) -> Result<Vec<OwnedFd>, RunError> {
    let mut descriptors = Vec::new();
    if let Some(source) = source {
        descriptors.push(source.descriptor()?);
    }
    let outputs = [
        (Stream::Stdout, rustix::stdio::stdout()),
        (Stream::Stderr, rustix::stdio::stderr()),
    ];
    for (stream, fd) in outputs.into_iter().take(if is_merged { 1 } else { 2 }) {
        let copy = fd.try_clone_to_owned();
        descriptors.push(copy.map_err(|source| RunError::Write { stream, source })?);
    }
    Ok(descriptors)
}
