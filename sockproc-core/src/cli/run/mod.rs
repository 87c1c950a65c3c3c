//! `sockproc run`: one command, with our streams as its own.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::thread;

use bytes::Bytes;
use clap::Args;

use super::log::{self, Log};
use super::{Chain, Failed, server_process};
use crate::connection::{Connection, Deadline, Events, Interest, Progress, wait_for_any};
use crate::proto::{Argv, ClientEvent, OnDisconnect, Request, Stream};
use crate::server::Config;
use crate::{Address, Error, ExitStatus, Stdin};

/// What env(1) and docker-run(1) exit with when they themselves, not the command, have failed.
const OWN_FAILURE: i32 = 125;

/// The name of our own stdin.
const OURS: &str = "-";

/// What is moved at once.
const CHUNK_LEN: usize = 64 * 1024;

/// Run a command: its streams are ours, its exit code is ours, 128+n if signal n ended it.
#[derive(Args)]
pub(super) struct Arguments {
    /// The server [default: $SOCKPROC_SOCKET, else one inside this process]
    #[arg(long, value_name = "ADDRESS")]
    server: Option<Address>,
    /// The command's stdin: a file, or - for ours [default: ours unless it is a terminal]
    #[arg(long, value_name = "FILE")]
    stdin: Option<OsString>,
    /// One word is a shell command line, several are a program and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(super) fn main(arguments: Arguments) -> Result<i32, Failed> {
    match run(arguments) {
        Ok(status) => match status {
            ExitStatus::Code(code) => Ok(code.into()),
            ExitStatus::Signal { signal, .. } => Ok(128 + i32::from(signal)),
            ExitStatus::Unknown(_) => Err(Failed::new(status, OWN_FAILURE)),
        },
        Err(error) => Err(Failed::new(Chain(&error), OWN_FAILURE)),
    }
}

fn run(arguments: Arguments) -> Result<ExitStatus, RunError> {
    let request = request(arguments.command)?;
    let source = Source::open(arguments.stdin)?;
    let stdin = match source {
        Some(_) => Stdin::streamed(),
        None => Stdin::empty(),
    };
    let address = match arguments.server {
        Some(address) => Some(address),
        None => Address::from_env().map_err(Error::from)?,
    };
    let (run, server) = match address {
        Some(address) => (Connection::new(address, request, stdin)?, None),
        None => {
            let (socket, server) = serve_ourselves()?;
            let run = Connection::on_socket(socket.into(), request, stdin)?;
            (run, Some(server))
        }
    };
    let status = drive(run, source);
    if let Some(signal) = server.and_then(|server| server.join().ok().flatten()) {
        std::process::exit(server_process::die_by(signal));
    }
    status
}

/// Why there is no status.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    Run(#[from] Error),
    #[error("cannot read {path:?}")]
    Stdin { path: OsString, source: io::Error },
    #[error("cannot write {stream:?}")]
    Write { stream: Stream, source: io::Error },
    #[error("cannot serve in this process")]
    Serve(#[source] io::Error),
}

fn request(mut words: Vec<OsString>) -> Result<Request, Error> {
    if words.len() == 1 {
        return Ok(Request::line(words.remove(0).into_vec()));
    }
    let argv = Argv::new(words.into_iter().map(OsString::into_vec))?;
    Ok(Request::argv(argv))
}

/// Where the command's stdin comes from.
struct Source {
    path: OsString,
    file: File,
}

impl Source {
    /// `None` where the command gets no stdin.
    fn open(path: Option<OsString>) -> Result<Option<Self>, RunError> {
        let ours = || io::stdin().as_fd().try_clone_to_owned().map(File::from);
        let (path, opened) = match path {
            None if io::stdin().is_terminal() => return Ok(None),
            None => match ours() {
                Ok(file) => (OURS.into(), Ok(file)),
                Err(_) => return Ok(None),
            },
            Some(path) if path == OURS => (path, ours()),
            Some(path) => {
                let opened = File::open(&path);
                (path, opened)
            }
        };
        match opened {
            Ok(file) => Ok(Some(Self { path, file })),
            Err(source) => Err(RunError::Stdin { path, source }),
        }
    }

    /// The next bytes, none at the end; `None` if another reader of the same pipe was faster.
    fn read(&mut self) -> Result<Option<Bytes>, RunError> {
        let mut chunk = vec![0; CHUNK_LEN];
        let len = loop {
            match self.file.read(&mut chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Ok(len) => break len,
                Err(source) => {
                    let path = self.path.clone();
                    return Err(RunError::Stdin { path, source });
                }
            }
        };
        chunk.truncate(len);
        Ok(Some(chunk.into()))
    }
}

/// Moves stdin to the command and its output to ours, as they come. The command sees no end of a stdin
/// that cannot be read: it sees a client that has gone.
fn drive(mut run: Connection<Events>, mut source: Option<Source>) -> Result<ExitStatus, RunError> {
    let mut ready = Interest::NONE;
    loop {
        let progress = run.on_ready(ready)?;
        while let Some(event) = run.receiver_mut().next_event() {
            if let ClientEvent::Data { stream, data } = event {
                write_out(stream, &data).map_err(|source| RunError::Write { stream, source })?;
            }
        }
        match progress {
            Progress::Done(exit) => return Ok(exit.status),
            Progress::Retry(delay) => {
                thread::sleep(delay);
                ready = Interest::NONE;
            }
            Progress::Reconnect => ready = Interest::NONE,
            Progress::Wait | Progress::Yield => ready = next_readiness(&mut run, &mut source)?,
        }
    }
}

/// Waits for the connection, and for stdin while the server takes it.
fn next_readiness(
    run: &mut Connection<Events>,
    source: &mut Option<Source>,
) -> Result<Interest, RunError> {
    let wanted = source.as_mut().filter(|_| run.wants_stdin());
    let found = match &wanted {
        Some(source) => wait_for_any(
            [
                (run.as_fd(), run.interest()),
                (source.file.as_fd(), Interest::READABLE),
            ],
            Deadline::NEVER,
        ),
        None => wait_for_any([(run.as_fd(), run.interest())], Deadline::NEVER)
            .map(|[ready]| [ready, Interest::NONE]),
    };
    let [mut ready, readable] = match found {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Interest::NONE),
        Err(error) => return Err(Error::Wait(error).into()),
    };
    if let Some(source) = wanted
        && readable.readable
        && let Some(data) = source.read()?
    {
        run.push_stdin(data);
        ready.writable = true;
    }
    Ok(ready)
}

/// A thread that serves, and returns the signal that ended the command in our place.
type OwnServer = thread::JoinHandle<Option<i32>>;

/// Starts a server for one connection in this process.
///
/// A signal that ends us ends the command first, which no terminal reaches: it is in a process group
/// of its own.
fn serve_ourselves() -> Result<(UnixStream, OwnServer), RunError> {
    let (ours, its) = UnixStream::pair().map_err(RunError::Serve)?;
    let config = Config {
        classic_on_disconnect: OnDisconnect::Kill,
        // As under a daemon: it is in no foreground group, so it could only be stopped by the terminal.
        new_session: true,
        ..Config::default()
    };
    Log::begin(log::level_from_environment());
    let serve = server_process::serve_one(OwnedFd::from(its), config).map_err(RunError::Serve)?;
    Ok((ours, thread::spawn(serve)))
}

fn write_out(stream: Stream, data: &[u8]) -> io::Result<()> {
    match stream {
        Stream::Stdout => {
            let mut stdout = io::stdout().lock();
            stdout.write_all(data)?;
            stdout.flush()
        }
        Stream::Stderr => io::stderr().lock().write_all(data),
    }
}
