//! What a run has received: its output, within the limit.

use std::io::{self, Read, Take};

use super::{Body, Output};
use crate::Error;
use crate::proto::{Exit, ExitStatus, Stream};

#[derive(Debug)]
pub(super) struct Incoming<B> {
    output: Output<B>,
    /// The most that both streams may hold together.
    limit: u64,
    announced: u64,
}

impl<B: Body> Incoming<B> {
    pub(super) fn new(limit: u64) -> Self {
        let output = Output {
            status: ExitStatus::Unknown(None),
            stdout: B::default(),
            stderr: B::default(),
        };
        Self {
            output,
            limit,
            announced: 0,
        }
    }

    pub(super) fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    pub(super) fn set_exit(&mut self, exit: Exit) {
        self.output.status = exit.status;
    }

    /// Makes room for a stream, if the limit allows it.
    pub(super) fn announce(&mut self, stream: Stream, len: u64) -> Result<(), Error> {
        let limit = self.limit;
        self.announced = match self.announced.checked_add(len) {
            Some(announced) if announced <= limit => announced,
            _ => return Err(Error::OutputTooLarge { stream, len, limit }),
        };
        let reserved = self.body_mut(stream).reserve(len);
        reserved.map_err(|source| Error::NoRoom {
            stream,
            len,
            source,
        })
    }

    /// Keeps bytes that have come together with others.
    pub(super) fn keep(&mut self, stream: Stream, data: &[u8]) -> Result<(), Error> {
        let mut left = data;
        while !left.is_empty() {
            let len = left.len() as u64;
            let reader: &mut dyn Read = &mut left;
            let (kept, result) = self.fill(stream, &mut reader.take(len));
            let result = match kept {
                0 => result.and(Err(io::ErrorKind::WriteZero.into())),
                _ => result,
            };
            result.map_err(|source| Error::NoRoom {
                stream,
                len,
                source,
            })?;
        }
        Ok(())
    }

    /// Lets a stream read from `source`: how many bytes it took, and how that ended.
    pub(super) fn fill(
        &mut self,
        stream: Stream,
        source: &mut Take<&mut dyn Read>,
    ) -> (u64, io::Result<()>) {
        let before = source.limit();
        let result = self.body_mut(stream).fill(source);
        (before - source.limit(), result)
    }

    pub(super) fn body(&self, stream: Stream) -> &B {
        match stream {
            Stream::Stdout => &self.output.stdout,
            Stream::Stderr => &self.output.stderr,
        }
    }

    fn body_mut(&mut self, stream: Stream) -> &mut B {
        match stream {
            Stream::Stdout => &mut self.output.stdout,
            Stream::Stderr => &mut self.output.stderr,
        }
    }

    /// Hands over everything.
    pub(super) fn take(&mut self) -> Output<B> {
        std::mem::replace(self, Self::new(self.limit)).output
    }
}
