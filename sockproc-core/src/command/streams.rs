//! The three streams of one run: what the request says of them, what is handed over, what is kept.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::stdio::{Kind, Stdio, no_descriptor};
use crate::proto::{Request, StreamMode};
use crate::{Error, Stdin};

/// Who reads what a command writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// The connection: what is not said otherwise comes in frames.
    Collect,
    /// The caller: what is not said otherwise is this process's own.
    Spawn,
}

/// The streams as the builder was told of them; `None` where it was told nothing.
#[derive(Debug, Default)]
pub(super) struct Streams {
    pub(super) stdin: Option<Stdio>,
    pub(super) stdout: Option<Stdio>,
    pub(super) stderr: Option<Stdio>,
}

/// What comes of them for one run.
#[derive(Debug, Default)]
pub(super) struct Opened {
    /// What is sent.
    pub(super) data: Stdin,
    /// What is handed over, in the order of the streams.
    pub(super) descriptors: Vec<OwnedFd>,
    /// Our ends of the pipes that were handed over.
    pub(super) ours: [Option<OwnedFd>; 3],
}

impl Streams {
    /// Opens the streams of a run, and says in `request` what they are.
    pub(super) fn open(&mut self, used: Use, request: &mut Request) -> Result<Opened, Error> {
        let mut opened = Opened::default();
        let default = || match used {
            Use::Collect => Stdio::piped(),
            Use::Spawn => Stdio::inherit(),
        };
        request.stdin = match &mut self.stdin {
            Some(Stdio(Kind::Data(data))) if used == Use::Collect => {
                opened.data = data.for_a_run()?;
                // The connection says more of it.
                StreamMode::Null
            }
            // No one would write to a pipe.
            None | Some(Stdio(Kind::Piped)) if used == Use::Collect => StreamMode::Null,
            told => opened.stream(0, used, &told.get_or_insert_with(default).0, io::stdin())?,
        };
        let stdout = self.stdout.get_or_insert_with(default);
        request.stdout = opened.stream(1, used, &stdout.0, io::stdout())?;
        let stderr = self.stderr.get_or_insert_with(default);
        request.stderr = opened.stream(2, used, &stderr.0, io::stderr())?;
        Ok(opened)
    }
}

impl Opened {
    /// Opens a stream that no bytes in memory are sent to.
    fn stream(
        &mut self,
        number: usize,
        used: Use,
        kind: &Kind,
        own: impl AsFd,
    ) -> Result<StreamMode, Error> {
        if let Some(descriptor) = kind.descriptor(own.as_fd()) {
            self.descriptors.push(descriptor.map_err(no_descriptor)?);
            return Ok(StreamMode::Descriptor);
        }
        match kind {
            Kind::Piped if used == Use::Collect => Ok(StreamMode::Piped),
            Kind::Piped => {
                self.pipe(number).map_err(no_descriptor)?;
                Ok(StreamMode::Descriptor)
            }
            Kind::AsStdout if number == 2 => Ok(StreamMode::Stdout),
            Kind::AsStdout => Err(impossible("the same as stdout")),
            Kind::Data(_) => Err(impossible("bytes in memory")),
            Kind::Null | Kind::Inherit | Kind::Descriptor(_) => Ok(StreamMode::Null),
        }
    }

    /// A pipe whose one end is handed over, in blocking mode: that mode goes with it.
    fn pipe(&mut self, number: usize) -> io::Result<()> {
        let (reader, writer) = io::pipe()?;
        let (theirs, ours): (OwnedFd, OwnedFd) = match number {
            0 => (reader.into(), writer.into()),
            _ => (writer.into(), reader.into()),
        };
        self.descriptors.push(theirs);
        self.ours[number] = Some(ours);
        Ok(())
    }
}

/// A stream cannot be this here.
fn impossible(field: &'static str) -> Error {
    let by = "this stream";
    Error::Unsupported { field, by }
}
