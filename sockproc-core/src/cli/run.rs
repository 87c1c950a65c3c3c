//! `sockproc run`: one command, with our streams as its own.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread;

use clap::Args;

use super::log::{self, Log};
use super::{Chain, Failed, serving};
use crate::proto::OnDisconnect;
use crate::proto::classic::ClientSession;
use crate::proto::{Argv, ClientEvent, ExitStatus, ProtocolError, Request, Stream, StreamMode};
use crate::server::Config;
use crate::{Address, AddressKind, Error};

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

fn run(arguments: Arguments) -> Result<ExitStatus, Failure> {
    let mut request = request(arguments.command)?;
    let stdin = open_stdin(arguments.stdin.clone())?;
    if stdin.is_some() {
        request.stdin = StreamMode::Piped;
    }
    let mut session = ClientSession::new();
    let head = session.send_run(&request).map_err(Error::Request)?;
    let address = match arguments.server {
        Some(address) => Some(address),
        None => Address::from_env().map_err(Error::from)?,
    };
    let (socket, server) = match address {
        Some(address) => (connect(address)?, None),
        None => serve_ourselves().map(|(socket, server)| (socket, Some(server)))?,
    };
    let lost = |source| Error::Disconnected { sent: true, source };
    socket.writer().write_all(&head).map_err(lost)?;
    let unreadable = Arc::new(Mutex::new(None));
    if let Some(stdin) = stdin {
        let (socket, unreadable) = (socket.try_clone().map_err(lost)?, unreadable.clone());
        // Not joined: a command that ends before its stdin does is over all the same.
        thread::spawn(move || socket.send_all(stdin, &unreadable));
    }
    let status = copy_reply(&socket, &mut session);
    socket.abort();
    if let Some(signal) = server.and_then(|server| server.join().ok().flatten()) {
        std::process::exit(serving::die_by(signal));
    }
    match unreadable.lock().ok().and_then(|mut error| error.take()) {
        Some(source) if status.is_err() => Err(Failure::Stdin {
            path: arguments.stdin.unwrap_or_else(|| OURS.into()),
            source,
        }),
        _ => status,
    }
}

/// Why there is no status.
#[derive(Debug, thiserror::Error)]
enum Failure {
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

/// `None` where the command gets no stdin.
fn open_stdin(path: Option<OsString>) -> Result<Option<File>, Failure> {
    let ours = || io::stdin().as_fd().try_clone_to_owned().map(File::from);
    let result = match path {
        None if io::stdin().is_terminal() => return Ok(None),
        None => return Ok(ours().ok()),
        Some(path) if path == OURS => ours().map_err(|source| (path, source)),
        Some(path) => File::open(&path).map_err(|source| (path, source)),
    };
    result
        .map(Some)
        .map_err(|(path, source)| Failure::Stdin { path, source })
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

    /// Sends `stdin` to its end and half-closes. If it cannot be read, the server is to see a client
    /// that has gone, and the command no end of file.
    fn send_all(&self, mut stdin: File, unreadable: &Mutex<Option<io::Error>>) {
        let mut chunk = vec![0; CHUNK_LEN];
        loop {
            match stdin.read(&mut chunk) {
                Ok(0) => break,
                // The reply tells why the server takes no more.
                Ok(len) if self.writer().write_all(&chunk[..len]).is_err() => return,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let _ = unreadable.lock().map(|mut slot| *slot = Some(error));
                    return self.abort();
                }
            }
        }
        let _ = match self {
            Self::Unix(socket) => socket.shutdown(Shutdown::Write),
            Self::Tcp(socket) => socket.shutdown(Shutdown::Write),
        };
    }

    /// Ends both directions, for every copy of this socket.
    fn abort(&self) {
        let _ = match self {
            Self::Unix(socket) => socket.shutdown(Shutdown::Both),
            // A TCP server would take that for a half-close; this resets the connection (connect(2)).
            Self::Tcp(socket) => rustix::net::connect_unspec(socket).map_err(io::Error::from),
        };
    }
}

fn connect(address: Address) -> Result<Socket, Error> {
    let result = match address.kind() {
        AddressKind::Unix(path) => UnixStream::connect(path).map(Socket::Unix),
        AddressKind::Tcp(tcp) => TcpStream::connect(tcp).map(Socket::Tcp),
    };
    result.map_err(|source| Error::Connect { address, source })
}

/// A thread that serves, and gives the signal that ended the command in our place.
type OwnServer = thread::JoinHandle<Option<i32>>;

/// Starts a server for one connection in this process.
///
/// A signal that ends us ends the command first, which no terminal reaches: it is in a process group
/// of its own.
fn serve_ourselves() -> Result<(Socket, OwnServer), Failure> {
    let (ours, its) = UnixStream::pair().map_err(Failure::Serve)?;
    let config = Config {
        classic_on_disconnect: OnDisconnect::Kill,
        // As under a daemon: it is in no foreground group, so it could only be stopped by the terminal.
        new_session: true,
        ..Config::default()
    };
    Log::begin(log::level_from_environment());
    let serve = serving::serve_one(OwnedFd::from(its), config).map_err(Failure::Serve)?;
    Ok((Socket::Unix(ours), thread::spawn(serve)))
}

/// Copies the command's output to ours as it comes.
fn copy_reply(socket: &Socket, session: &mut ClientSession) -> Result<ExitStatus, Failure> {
    let mut reader = socket.reader();
    let mut chunk = vec![0; CHUNK_LEN];
    loop {
        while let Some(event) = session.next_event().map_err(protocol_error)? {
            match event {
                ClientEvent::Data { stream, data } => {
                    write_out(stream, &data).map_err(|source| Failure::Write { stream, source })?;
                }
                ClientEvent::Exited(exit) => return Ok(exit.status),
                // A classic session tells only lengths besides.
                _ => {}
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
