//! A run's output, collected within a limit.

use std::io::{self, Read, Take};
use std::time::Duration;

use super::Receiver;
use crate::Error;
use crate::proto::{ClientEvent, EndedBy, Exit, ExitStatus, Limits, Millis, Stream};

/// How a run ended, and what it wrote.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Output<B = Vec<u8>> {
    /// How the command ended.
    pub status: ExitStatus,
    /// What it wrote to file descriptor 1.
    pub stdout: B,
    /// What it wrote to file descriptor 2.
    pub stderr: B,
    /// What else is known of its end: processes that live on, times. Only the native protocol tells.
    pub exit: Exit,
}

/// Room for one output stream of a run, filled straight from the socket.
///
/// `Vec<u8>` is one. A binding implements it for an object of its host, so that the bytes need no
/// second copy: `expect` makes the object, `append` reads into it.
pub trait Body: Default {
    /// Learns how many bytes will come in all. Called at most once, before any byte; not at all where
    /// the protocol does not tell.
    ///
    /// The cap on output has been checked, but `len` is still the peer's word: fail if there is no
    /// such memory, do not touch what is not filled yet.
    ///
    /// # Errors
    /// There is no room; the run fails with [`Error::NoRoom`].
    fn expect(&mut self, len: u64) -> io::Result<()>;

    /// Reads from `source` and appends, once or until it returns no more.
    ///
    /// Every byte taken from `source` must be kept.
    ///
    /// # Errors
    /// What `source` returned, `WouldBlock` too.
    fn append(&mut self, source: &mut Take<&mut dyn Read>) -> io::Result<()>;

    /// What has come so far, to be shown in an error; empty where it is not in memory as bytes.
    fn so_far(&self) -> &[u8] {
        &[]
    }
}

/// Collects the output of a run, and yields an [`Output`] of `B`s.
#[derive(Debug)]
pub struct Collected<B = Vec<u8>> {
    output: Output<B>,
    /// The most that both streams may hold together.
    limit: u64,
    /// Bytes announced, or come where none are announced.
    counted: u64,
    is_announced: bool,
}

impl<B: Body> Default for Collected<B> {
    fn default() -> Self {
        Self {
            output: Output::default(),
            limit: u64::MAX,
            counted: 0,
            is_announced: false,
        }
    }
}

impl<B: Body> Collected<B> {
    pub(super) fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// What has come of a stream so far.
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

    /// Makes room for a stream, if the limit allows it.
    fn announce(&mut self, stream: Stream, len: u64) -> Result<(), Error> {
        self.is_announced = true;
        self.count(stream, len)?;
        let expected = self.body_mut(stream).expect(len);
        expected.map_err(|source| Error::NoRoom {
            stream,
            len,
            source,
        })
    }

    fn count(&mut self, stream: Stream, len: u64) -> Result<(), Error> {
        let limit = self.limit;
        self.counted = self.counted.saturating_add(len);
        if self.counted > limit {
            return Err(Error::OutputTooLarge { stream, len, limit });
        }
        Ok(())
    }

    /// The client's own limit, or, if the server has one of its own, how long the run took.
    fn limit_that_was_hit(&self, limit: Option<Millis>) -> Duration {
        match limit {
            Some(limit) => Duration::from_millis(limit.get()),
            None => Duration::from_micros(self.output.exit.wall_us),
        }
    }

    /// The server has ended the run because of what it wrote.
    fn output_too_large(&self, limits: &Limits) -> Error {
        let Exit { stdout, stderr, .. } = &self.output.exit;
        let (stream, len) = match stderr.cut > stdout.cut {
            true => (Stream::Stderr, stderr.bytes),
            false => (Stream::Stdout, stdout.bytes),
        };
        let limit = limits.max_output.unwrap_or(stdout.bytes + stderr.bytes);
        Error::OutputTooLarge { stream, len, limit }
    }

    /// Keeps bytes that have come together with others.
    fn keep(&mut self, stream: Stream, data: &[u8]) -> Result<(), Error> {
        let mut left = data;
        while !left.is_empty() {
            let len = left.len() as u64;
            let reader: &mut dyn Read = &mut left;
            let mut source = reader.take(len);
            let result = self.body_mut(stream).append(&mut source);
            let result = match source.limit() {
                rest if rest == len => result.and(Err(io::ErrorKind::WriteZero.into())),
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
}

impl<B: Body> Receiver for Collected<B> {
    type Outcome = Output<B>;

    fn receive(&mut self, event: ClientEvent) -> Result<(), Error> {
        match event {
            ClientEvent::Announced { stream, len } => self.announce(stream, len),
            ClientEvent::Data { stream, data } => {
                if !self.is_announced {
                    self.count(stream, data.len() as u64)?;
                }
                self.keep(stream, &data)
            }
            ClientEvent::Exited(exit) => {
                self.output.status = exit.status;
                self.output.exit = exit;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn read_from(&mut self, stream: Stream, source: &mut Take<&mut dyn Read>) -> io::Result<()> {
        self.body_mut(stream).append(source)
    }

    fn limit(&mut self, limits: &Limits) {
        self.limit = limits.max_output.unwrap_or(u64::MAX);
    }

    fn finish(&mut self, limits: &Limits) -> Result<Output<B>, Error> {
        match self.output.exit.ended_by {
            Some(EndedBy::Timeout) => Err(Error::Timeout {
                timeout: self.limit_that_was_hit(limits.timeout),
                sent: true,
                stdout: self.output.stdout.so_far().to_vec(),
                stderr: self.output.stderr.so_far().to_vec(),
            }),
            Some(EndedBy::IdleTimeout) => Err(Error::IdleTimeout {
                timeout: self.limit_that_was_hit(limits.idle_timeout),
                stdout: self.output.stdout.so_far().to_vec(),
                stderr: self.output.stderr.so_far().to_vec(),
            }),
            Some(EndedBy::OutputLimit) => Err(self.output_too_large(limits)),
            _ => Ok(std::mem::take(&mut self.output)),
        }
    }

    fn so_far(&self, stream: Stream) -> &[u8] {
        self.body(stream).so_far()
    }
}

impl Body for Vec<u8> {
    fn expect(&mut self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
        // Only addresses are taken here: the kernel gives memory when it is written to.
        self.try_reserve_exact(len)
            .map_err(|_| io::ErrorKind::OutOfMemory.into())
    }

    /// `read_to_end` keeps what came before an error and reads into memory that was never zeroed.
    fn append(&mut self, source: &mut Take<&mut dyn Read>) -> io::Result<()> {
        source.read_to_end(self).map(drop)
    }

    fn so_far(&self) -> &[u8] {
        self
    }
}

/// A body that forgets what it is given.
#[derive(Debug, Default)]
pub struct Forgotten;

impl Body for Forgotten {
    fn expect(&mut self, _len: u64) -> io::Result<()> {
        Ok(())
    }

    fn append(&mut self, source: &mut Take<&mut dyn Read>) -> io::Result<()> {
        io::copy(source, &mut io::sink()).map(drop)
    }
}
