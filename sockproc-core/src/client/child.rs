//! A spawned command, and its pipes.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio::time::{Instant, Sleep, sleep};

use super::drive::{advance, within};
use crate::command::{KILL, LINGER, Pipes, Run, SILENCE, Spawned};
use crate::proto::{ExitStatus, SignalTo};
use crate::{Error, Output};

/// A command that a server runs for this process, as `tokio::process::Child` is one.
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
    pub(super) async fn start((mut spawned, pipes): (Spawned, Pipes)) -> Result<Self, Error> {
        drive(&mut spawned, |run| run.pid().is_some()).await?;
        let [stdin, stdout, stderr] = pipes;
        let stdin = stdin.map(|fd| ChildStdin::from_std(fd.into())).transpose();
        let stdout = stdout
            .map(|fd| ChildStdout::from_std(fd.into()))
            .transpose();
        let stderr = stderr
            .map(|fd| ChildStderr::from_std(fd.into()))
            .transpose();
        Ok(Self {
            spawned,
            stdin: stdin.map_err(Error::Descriptor)?,
            stdout: stdout.map_err(Error::Descriptor)?,
            stderr: stderr.map_err(Error::Descriptor)?,
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
    ///
    /// # Cancel safety
    /// Cancel-safe: the command goes on, and this may be called again.
    pub async fn wait(&mut self) -> Result<ExitStatus, Error> {
        drop(self.stdin.take());
        ended(&mut self.spawned).await
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
    ///
    /// # Cancel safety
    /// Cancel-safe: the signal is sent by the first poll, the rest is [`wait`](Self::wait).
    pub async fn kill(&mut self) -> Result<(), Error> {
        self.start_kill()?;
        self.wait().await.map(drop)
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
    ///
    /// # Cancel safety
    /// Dropping the future ends the run: the child is in it.
    pub async fn wait_with_output(mut self) -> Result<Output, Error> {
        drop(self.stdin.take());
        let mut stdout = Reading::new(self.stdout.take());
        let mut stderr = Reading::new(self.stderr.take());
        let mut run = pin!(ended(&mut self.spawned));
        let mut status = None;
        let mut silence = pin!(sleep(SILENCE));
        let mut last = pin!(sleep(LINGER));
        let status = poll_fn(|context| {
            let moved = stdout.poll(context)? | stderr.poll(context)?;
            let status = match status {
                Some(status) => status,
                None => {
                    let now = ready!(run.as_mut().poll(context))?;
                    last.as_mut().reset(Instant::now() + LINGER);
                    silence.as_mut().reset(Instant::now() + SILENCE);
                    *status.insert(now)
                }
            };
            if moved {
                silence.as_mut().reset(Instant::now() + SILENCE);
            }
            let is_over = stdout.is_over() && stderr.is_over();
            let is_late = |timer: &mut Pin<&mut Sleep>, context: &mut Context<'_>| {
                timer.as_mut().poll(context).is_ready()
            };
            match is_over || is_late(&mut silence, context) || is_late(&mut last, context) {
                true => Poll::Ready(Ok::<_, Error>(status)),
                false => Poll::Pending,
            }
        })
        .await?;
        Ok(Output {
            status,
            stdout: stdout.bytes,
            stderr: stderr.bytes,
            ..Output::default()
        })
    }
}

/// Waits until the command has exited.
async fn ended(spawned: &mut Spawned) -> Result<ExitStatus, Error> {
    while spawned.run.is_some() {
        // It is never enough.
        drive(spawned, |_| false).await?;
    }
    spawned.status()
}

/// Drives the run until it is `enough`, or for as long as it may take.
async fn drive(spawned: &mut Spawned, enough: impl Fn(&Run) -> bool) -> Result<(), Error> {
    let Some(run) = &mut spawned.run else {
        return Ok(());
    };
    let deadline = spawned.time.deadline(run);
    let found = match within(deadline, advance(run, enough)).await {
        Some(found) => found,
        None => spawned.time.check(run).map(|()| None),
    };
    spawned.keep(found).map(drop)
}

/// One of the command's streams on its way into memory.
struct Reading<T> {
    pipe: Option<T>,
    bytes: Vec<u8>,
}

impl<T: AsyncRead + Unpin> Reading<T> {
    fn new(pipe: Option<T>) -> Self {
        Self {
            pipe,
            bytes: Vec::new(),
        }
    }

    fn is_over(&self) -> bool {
        self.pipe.is_none()
    }

    /// Reads all that is there; whether that was anything.
    fn poll(&mut self, context: &mut Context<'_>) -> Result<bool, Error> {
        let mut moved = false;
        let mut chunk = [0; CHUNK_LEN];
        while let Some(pipe) = &mut self.pipe {
            let mut buf = ReadBuf::new(&mut chunk);
            match Pin::new(pipe).poll_read(context, &mut buf) {
                Poll::Pending => break,
                Poll::Ready(Err(error)) => return Err(Error::Descriptor(error)),
                Poll::Ready(Ok(())) if buf.filled().is_empty() => self.pipe = None,
                Poll::Ready(Ok(())) => self.bytes.extend_from_slice(buf.filled()),
            }
            moved = true;
        }
        Ok(moved)
    }
}

/// What is read at once; it lies on the stack.
const CHUNK_LEN: usize = 16 * 1024;
