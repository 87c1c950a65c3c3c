//! A spawned command, and its pipes.

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{ChildStderr, ChildStdin, ChildStdout};

use super::drive::advance;
use crate::command::{KILL, LINGER, Pipes, Run, SILENCE, Spawned};
use crate::connection::{Deadline, Interest, wait_for_each};
use crate::proto::{ExitStatus, SignalTo};
use crate::{Error, Output};

/// A command that a server runs for this process, as `std::process::Child` is one.
///
/// Dropping it ends the run with its whole tree, unless the builder was told otherwise by `on_disconnect`.
#[derive(Debug)]
pub struct Child {
    spawned: Spawned,
    /// Where the command's stdin is written, if it is a pipe.
    pub stdin: Option<ChildStdin>,
    /// Where the command's stdout is read, if it is a pipe.
    pub stdout: Option<ChildStdout>,
    /// Where the command's stderr is read, if it is a pipe.
    pub stderr: Option<ChildStderr>,
}

impl Child {
    /// Waits until the command has been started.
    pub(super) fn start((mut spawned, pipes): (Spawned, Pipes)) -> Result<Self, Error> {
        if let Some(run) = &mut spawned.run {
            let started = advance(run, &mut spawned.time, |run| run.pid().is_some());
            spawned.keep(started)?;
        }
        let [stdin, stdout, stderr] = pipes;
        Ok(Self {
            spawned,
            stdin: stdin.map(ChildStdin::from),
            stdout: stdout.map(ChildStdout::from),
            stderr: stderr.map(ChildStderr::from),
        })
    }

    /// The command's process id, as the server sees it. Only for people to read: what it names may be
    /// in another namespace, and may have ended.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.spawned.pid()
    }

    /// Waits until the command has exited; its stdin is closed first.
    ///
    /// Output that no one reads is a deadlock once a pipe is full: read it, or use
    /// [`wait_with_output`](Self::wait_with_output).
    ///
    /// # Errors
    /// How it ended is not known; an [`Error::Timeout`] if the server has ended it at its timeout.
    pub fn wait(&mut self) -> Result<ExitStatus, Error> {
        drop(self.stdin.take());
        while let Some(run) = &mut self.spawned.run {
            // It is never enough.
            let ended = advance(run, &mut self.spawned.time, |_| false);
            self.spawned.keep(ended)?;
        }
        self.spawned.status()
    }

    /// How the command has ended, or `None` if it goes on.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>, Error> {
        self.spawned.try_wait()
    }

    /// Sends the command the signal of this number; one that has ended needs none.
    ///
    /// # Errors
    /// The number is not that of a signal, or the connection was lost.
    pub fn signal(&mut self, number: u8) -> Result<(), Error> {
        self.spawned.signal(number, SignalTo::Leader)
    }

    /// Sends SIGKILL to the command's whole process group, and does not wait.
    ///
    /// # Errors
    /// The connection was lost.
    pub fn start_kill(&mut self) -> Result<(), Error> {
        self.spawned.signal(KILL, SignalTo::Group)
    }

    /// Sends SIGKILL to the command's whole process group, and waits.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn kill(&mut self) -> Result<(), Error> {
        self.start_kill()?;
        self.wait().map(drop)
    }

    /// Has the server end the command with its whole tree, as a timeout would, and does not wait: SIGTERM,
    /// the grace period, SIGKILL.
    ///
    /// # Errors
    /// The connection was lost.
    pub fn cancel(&mut self) -> Result<(), Error> {
        self.spawned.cancel()
    }

    /// Closes stdin, reads both pipes to their end, and waits until the command has exited.
    ///
    /// Once it has exited, pipes that other processes still hold are read until they are silent for
    /// 100 ms, or for 1 s.
    ///
    /// # Errors
    /// As [`wait`](Self::wait). Output is not returned without a status.
    pub fn wait_with_output(mut self) -> Result<Output, Error> {
        drop(self.stdin.take());
        let mut stdout = Reading::new(self.stdout.take().map(OwnedFd::from));
        let mut stderr = Reading::new(self.stderr.take().map(OwnedFd::from));
        while let Some(run) = &self.spawned.run {
            let deadline = self.spawned.time.deadline(run);
            read_some(Some(run), [&mut stdout, &mut stderr], deadline)?;
            if self.spawned.try_wait()?.is_none()
                && let Some(run) = &self.spawned.run
            {
                self.spawned.time.check(run)?;
            }
        }
        let mut silence = Deadline::after(Some(SILENCE));
        let last = Deadline::after(Some(LINGER));
        while !(stdout.is_over() && stderr.is_over()) {
            let until = silence.or_earlier(last);
            match read_some(None, [&mut stdout, &mut stderr], until)? {
                true => silence = Deadline::after(Some(SILENCE)),
                false if until.has_passed() => break,
                false => {}
            }
        }
        Ok(Output {
            status: self.spawned.status()?,
            stdout: stdout.bytes,
            stderr: stderr.bytes,
            ..Output::default()
        })
    }
}

/// Waits for the connection and both pipes at once, and reads what has come of the pipes; whether there
/// was anything.
fn read_some(
    run: Option<&Run>,
    mut pipes: [&mut Reading; 2],
    deadline: Deadline,
) -> Result<bool, Error> {
    let mut wanted = Vec::new();
    for pipe in pipes.iter().filter_map(|reading| reading.pipe.as_ref()) {
        wanted.push((pipe.as_fd(), Interest::READABLE));
    }
    wanted.extend(run.map(|run| (run.as_fd(), run.interest())));
    let found = match wait_for_each(&wanted, deadline) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(false),
        Err(error) => return Err(Error::Wait(error)),
    };
    let mut found = found.into_iter();
    let mut has_read = false;
    for reading in pipes.iter_mut().filter(|reading| !reading.is_over()) {
        if found.next().is_some_and(|found| found.readable) {
            reading.read()?;
            has_read = true;
        }
    }
    Ok(has_read)
}

/// One of the command's streams on its way into memory.
struct Reading {
    pipe: Option<io::PipeReader>,
    bytes: Vec<u8>,
}

impl Reading {
    fn new(pipe: Option<OwnedFd>) -> Self {
        Self {
            pipe: pipe.map(io::PipeReader::from),
            bytes: Vec::new(),
        }
    }

    fn is_over(&self) -> bool {
        self.pipe.is_none()
    }

    /// Reads what is there: something is, so it does not block, and no one else reads.
    fn read(&mut self) -> Result<(), Error> {
        let Some(pipe) = &mut self.pipe else {
            return Ok(());
        };
        let mut buf = [0; CHUNK_LEN];
        match pipe.read(&mut buf) {
            Ok(0) => self.pipe = None,
            Ok(len) => self.bytes.extend_from_slice(&buf[..len]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::Descriptor(error)),
        }
        Ok(())
    }
}

/// As much as a pipe holds.
const CHUNK_LEN: usize = 64 * 1024;
