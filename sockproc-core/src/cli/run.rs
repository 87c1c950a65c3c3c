//! `sockproc run`: one command, with our streams as its own.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::thread;

use bytes::Bytes;
use clap::Args;

use super::{Chain, fail, serving};
use crate::proto::classic::{ClientSession, exec_line};
use crate::proto::{ClientEvent, ExitStatus, ProtocolError, Request, Stream, WaitStatus};
use crate::server::{Config, OnDisconnect};
use crate::{Address, Error};

/// What env(1) and docker-run(1) exit with when they themselves, not the command, have failed.
const OWN_FAILURE: i32 = 125;

/// A stdin of unknown length is announced as endless and ended by a half-close, which every classic
/// server takes for its end.
const UNTIL_HALF_CLOSE: u64 = i64::MAX as u64;

/// What is received at once.
const READ_LEN: usize = 64 * 1024;

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

pub(super) fn main(arguments: Arguments) -> i32 {
    match run(arguments) {
        Ok(status) => match status.decode() {
            ExitStatus::Code(code) => code.into(),
            ExitStatus::Signal { signal, .. } => 128 + i32::from(signal),
            ExitStatus::Unknown => fail(status, OWN_FAILURE),
        },
        Err(error) => fail(Chain(&error), OWN_FAILURE),
    }
}

fn run(arguments: Arguments) -> Result<WaitStatus, Failure> {
    let command = command_line(arguments.command)?;
    let stdin = open_stdin(arguments.stdin)?;
    let stdin_len = if stdin.is_some() { UNTIL_HALF_CLOSE } else { 0 };
    let mut session = ClientSession::new();
    let head = session
        .send_run(&Request { command, stdin_len })
        .map_err(Error::Request)?;
    let address = match arguments.server {
        Some(address) => Some(address),
        None => Address::from_env().map_err(Error::from)?,
    };
    let socket = match address {
        Some(address) => connect(address)?,
        None => serve_ourselves()?,
    };
    let lost = |source| Error::Disconnected { sent: true, source };
    socket.writer().write_all(&head).map_err(lost)?;
    if let Some(stdin) = stdin {
        let socket = socket.try_clone().map_err(lost)?;
        // Not joined: a command that ends before its stdin does is over all the same.
        thread::spawn(move || socket.send_all(stdin));
    }
    copy_reply(&socket, &mut session)
}

/// Why there is no status.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Run(#[from] Error),
    #[error("cannot read {path:?}")]
    OpenStdin { path: OsString, source: io::Error },
    #[error("cannot write {stream:?}")]
    Write { stream: Stream, source: io::Error },
    #[error("cannot serve in this process")]
    Serve(#[source] io::Error),
}

fn command_line(mut words: Vec<OsString>) -> Result<Bytes, Error> {
    if words.len() == 1 {
        return Ok(words.remove(0).into_vec().into());
    }
    Ok(exec_line(words.into_iter().map(OsString::into_vec))?)
}

/// `None` where the command gets no stdin.
fn open_stdin(path: Option<OsString>) -> Result<Option<File>, Failure> {
    let ours = || io::stdin().as_fd().try_clone_to_owned().map(File::from);
    let result = match path {
        None if io::stdin().is_terminal() => return Ok(None),
        None => return Ok(ours().ok()),
        Some(path) if path == "-" => ours().map_err(|source| (path, source)),
        Some(path) => File::open(&path).map_err(|source| (path, source)),
    };
    result
        .map(Some)
        .map_err(|(path, source)| Failure::OpenStdin { path, source })
}

/// A blocking stream to a server.
enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Socket {
    fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Unix(socket) => socket.try_clone().map(Self::Unix),
            Self::Tcp(socket) => socket.try_clone().map(Self::Tcp),
        }
    }

    fn reader(&self) -> Box<dyn Read + '_> {
        match self {
            Self::Unix(socket) => Box::new(socket),
            Self::Tcp(socket) => Box::new(socket),
        }
    }

    fn writer(&self) -> Box<dyn Write + '_> {
        match self {
            Self::Unix(socket) => Box::new(socket),
            Self::Tcp(socket) => Box::new(socket),
        }
    }

    /// Sends `stdin` to its end and half-closes; the reply tells whatever goes wrong.
    fn send_all(&self, mut stdin: File) {
        let _ = io::copy(&mut stdin, &mut self.writer());
        let _ = match self {
            Self::Unix(socket) => socket.shutdown(Shutdown::Write),
            Self::Tcp(socket) => socket.shutdown(Shutdown::Write),
        };
    }
}

fn connect(address: Address) -> Result<Socket, Error> {
    let result = match &address {
        Address::Unix(path) => UnixStream::connect(path).map(Socket::Unix),
        Address::Tcp(tcp) => TcpStream::connect(tcp).map(Socket::Tcp),
    };
    result.map_err(|source| Error::Connect { address, source })
}

/// Starts a server for one connection on a thread of this process.
///
/// A signal that ends us ends the command first, which no terminal reaches: it is in a process group
/// of its own.
fn serve_ourselves() -> Result<Socket, Failure> {
    let (ours, its) = UnixStream::pair().map_err(Failure::Serve)?;
    let config = Config {
        classic_on_disconnect: OnDisconnect::Kill,
        ..Config::default()
    };
    serving::log_to_stderr(serving::level_from_environment());
    let serve = serving::serve_one(OwnedFd::from(its), config).map_err(Failure::Serve)?;
    thread::spawn(serve);
    Ok(Socket::Unix(ours))
}

/// Copies the command's output to ours as it comes.
fn copy_reply(socket: &Socket, session: &mut ClientSession) -> Result<WaitStatus, Failure> {
    let mut reader = socket.reader();
    let mut chunk = vec![0; READ_LEN];
    loop {
        while let Some(event) = session.next_event().map_err(protocol_error)? {
            match event {
                ClientEvent::Data { stream, data } => {
                    write_out(stream, &data).map_err(|source| Failure::Write { stream, source })?;
                }
                ClientEvent::Exited(status) => return Ok(status),
                ClientEvent::Announced { .. } => {}
            }
        }
        match reader.read(&mut chunk) {
            Ok(0) => session.receive_eof(),
            Ok(len) => session.receive_data(&chunk[..len]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(Error::Disconnected { sent: true, source }.into()),
        }
    }
}

fn protocol_error(error: ProtocolError) -> Error {
    match error {
        ProtocolError::Truncated => Error::Disconnected {
            sent: true,
            source: io::ErrorKind::UnexpectedEof.into(),
        },
        error => Error::Protocol(error),
    }
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
