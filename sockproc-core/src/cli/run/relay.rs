//! Streams that pass through us: our stdin to the server, the command's output to our own.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bytes::Bytes;
use rustix::fs::{OFlags, fcntl_getfl};

use super::outcome::RunError;
use super::sink::Sink;
use crate::connection::{Connection, Events, Interest};
use crate::proto::Stream;

/// The name of our own stdin.
const OURS: &str = "-";

/// What is moved at once.
const CHUNK_LEN: usize = 64 * 1024;

/// Where the command's stdin comes from.
#[derive(Debug)]
pub(super) struct Source {
    path: OsString,
    file: File,
}

impl Source {
    /// `None` where the command gets no stdin.
    pub(super) fn open(path: Option<&OsString>) -> Result<Option<Self>, RunError> {
        let ours = || io::stdin().as_fd().try_clone_to_owned().map(File::from);
        let (path, opened) = match path {
            None if io::stdin().is_terminal() => return Ok(None),
            None => match ours() {
                Ok(file) => (OURS.into(), Ok(file)),
                Err(_) => return Ok(None),
            },
            Some(path) if path == OURS => (path.clone(), ours()),
            Some(path) => (path.clone(), File::open(path)),
        };
        match opened {
            Ok(file) => Ok(Some(Self { path, file })),
            Err(source) => Err(RunError::Stdin { path, source }),
        }
    }

    /// Whether it was opened for reading.
    pub(super) fn is_readable(&self) -> bool {
        let flags = fcntl_getfl(&self.file);
        flags.is_ok_and(|flags| !flags.intersects(OFlags::WRONLY | OFlags::PATH))
    }

    /// A copy of its descriptor, for the command.
    pub(super) fn descriptor(&self) -> Result<OwnedFd, RunError> {
        let copy = self.file.as_fd().try_clone_to_owned();
        copy.map_err(|source| self.failed(source))
    }

    /// The next bytes, none at the end; `None` if another reader of the same pipe was faster.
    fn read(&mut self) -> Result<Option<Bytes>, RunError> {
        let mut chunk = vec![0; CHUNK_LEN];
        let len = loop {
            match self.file.read(&mut chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Ok(len) => break len,
                Err(source) => return Err(self.failed(source)),
            }
        };
        chunk.truncate(len);
        Ok(Some(chunk.into()))
    }

    fn failed(&self, source: io::Error) -> RunError {
        let path = self.path.clone();
        RunError::Stdin { path, source }
    }
}

/// All three streams of a command.
#[derive(Debug)]
pub(super) struct Relay {
    source: Option<Source>,
    outputs: [Sink; 2],
}

impl Relay {
    pub(super) fn new(source: Option<Source>) -> Self {
        Self {
            source,
            outputs: [Stream::Stdout, Stream::Stderr].map(Sink::new),
        }
    }

    /// More output of the command.
    pub(super) fn push(&mut self, stream: Stream, data: Bytes) {
        let [stdout, stderr] = &mut self.outputs;
        match stream {
            Stream::Stdout => stdout.push(data),
            Stream::Stderr => stderr.push(data),
        }
    }

    /// Whether no output waits: only then more is taken from the server.
    pub(super) fn is_drained(&self) -> bool {
        self.outputs.iter().all(Sink::is_empty)
    }

    pub(super) fn wanted(&self, run: &Connection<Events>) -> [(BorrowedFd<'_>, Interest); 3] {
        let [stdout, stderr] = &self.outputs;
        let input = match &self.source {
            Some(source) if run.wants_stdin() => (source.file.as_fd(), Interest::READABLE),
            _ => (rustix::stdio::stdin(), Interest::NONE),
        };
        [input, stdout.wanted(), stderr.wanted()]
    }

    /// Moves what can be moved; returns whether the connection was given any of it.
    ///
    /// The command sees no end of a stdin that cannot be read: it sees a client that has gone.
    pub(super) fn on_ready(
        &mut self,
        [input, stdout, stderr]: [Interest; 3],
        run: &mut Connection<Events>,
    ) -> Result<bool, RunError> {
        for (output, ready) in self.outputs.iter_mut().zip([stdout, stderr]) {
            if ready.writable {
                let stream = output.stream;
                let written = output.write();
                written.map_err(|source| RunError::Write { stream, source })?;
            }
        }
        match &mut self.source {
            Some(source) if input.readable => match source.read()? {
                Some(data) => {
                    run.push_stdin(data);
                    Ok(true)
                }
                None => Ok(false),
            },
            _ => Ok(false),
        }
    }
}
