//! A client of the native protocol that does one thing after another.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sockproc_core::proto::native::ClientSession;
use sockproc_core::proto::opening::{GREETING, OPENING};
use sockproc_core::proto::{
    Argv, ClientEvent, Exit, Refusal, Request, SignalTo, Stream, StreamMode,
};

use crate::support::{Connection, DEADLINE, TestServer, settled};

/// One run from its client's side.
pub(crate) struct Client {
    pub(crate) connection: Connection,
    pub(crate) session: ClientSession,
}

/// All that was told of a run.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) pid: u32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) ends: Vec<Stream>,
    pub(crate) stdin_closed: bool,
    pub(crate) last: Option<ClientEvent>,
}

/// A request for a line of shell, whose stdin is in frames.
pub(crate) fn line(line: &str) -> Request {
    let mut request = Request::line(line.to_owned());
    request.stdin = StreamMode::Piped;
    request
}

pub(crate) fn argv(words: &[&str]) -> Request {
    Request::argv(Argv::new(words.iter().map(|word| word.to_string())).unwrap())
}

impl Client {
    /// A connection that has been greeted.
    #[track_caller]
    pub(crate) fn open(server: &TestServer) -> Self {
        let mut connection = server.connect();
        connection.send(OPENING);
        assert_eq!(connection.read_exactly(GREETING.len()), GREETING);
        Self {
            connection,
            session: ClientSession::new(),
        }
    }

    /// A connection on which this was asked.
    #[track_caller]
    pub(crate) fn ask(server: &TestServer, request: &Request) -> Self {
        let mut client = Self::open(server);
        let run = client.session.send_run(request).unwrap();
        client.connection.send(run);
        client
    }

    /// As [`ask`](Self::ask), with descriptors.
    #[track_caller]
    pub(crate) fn ask_with(server: &TestServer, request: &Request, fds: &[BorrowedFd]) -> Self {
        let mut client = Self::open(server);
        let run = client.session.send_run(request).unwrap();
        client.connection.send_with_fds(&run, fds);
        client
    }

    /// Runs it without stdin, to its end.
    #[track_caller]
    pub(crate) fn run(server: &TestServer, request: &Request) -> Told {
        Self::ask(server, request).finish()
    }

    #[track_caller]
    pub(crate) fn send_stdin(&mut self, data: impl Into<Bytes>) {
        // In one write: TCP would let a second one wait.
        let frame = self.session.send_stdin(data.into()).unwrap().concat();
        self.connection.send(frame);
    }

    #[track_caller]
    pub(crate) fn end_stdin(&mut self) {
        let frame = self.session.send_stdin_end().unwrap();
        self.connection.send(frame);
    }

    #[track_caller]
    pub(crate) fn signal(&mut self, number: u8, to: SignalTo) {
        let frame = self.session.send_signal(number, to).unwrap();
        self.connection.send(frame);
    }

    #[track_caller]
    pub(crate) fn cancel(&mut self) {
        let frame = self.session.send_cancel().unwrap();
        self.connection.send(frame);
    }

    /// The next event; `None` at the end of the run.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Option<ClientEvent> {
        loop {
            if let Some(event) = self.session.next_event().unwrap() {
                return Some(event);
            }
            if self.session.is_over() {
                return None;
            }
            self.read_some();
        }
    }

    /// The next event, or `None` once there is credit for stdin.
    #[track_caller]
    pub(crate) fn next_or_credit(&mut self) -> Option<ClientEvent> {
        loop {
            if let Some(event) = self.session.next_event().unwrap() {
                return Some(event);
            }
            if self.session.stdin_credit() > 0 {
                return None;
            }
            self.read_some();
        }
    }

    #[track_caller]
    pub(crate) fn wait_for_start(&mut self) -> u32 {
        match self.next() {
            Some(ClientEvent::Started { pid }) => pid,
            other => panic!("{other:?}"),
        }
    }

    /// Everything to the last event.
    #[track_caller]
    pub(crate) fn finish(&mut self) -> Told {
        let mut told = Told::default();
        while let Some(event) = self.next() {
            told.take(event);
        }
        told
    }

    #[track_caller]
    fn read_some(&mut self) {
        let bytes = self.connection.read_some();
        if bytes.is_empty() {
            self.session.receive_eof();
        }
        self.session.receive_data(&bytes);
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}

impl Told {
    pub(crate) fn take(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::Started { pid } => self.pid = pid,
            ClientEvent::Data { stream, data } => match stream {
                Stream::Stdout => self.stdout.extend_from_slice(&data),
                Stream::Stderr => self.stderr.extend_from_slice(&data),
            },
            ClientEvent::End(stream) => self.ends.push(stream),
            ClientEvent::StdinClosed => self.stdin_closed = true,
            last => self.last = Some(last),
        }
    }

    #[track_caller]
    pub(crate) fn exit(&self) -> &Exit {
        match &self.last {
            Some(ClientEvent::Exited(exit)) => exit,
            _ => panic!("{self:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn code(&self) -> u8 {
        self.exit()
            .status
            .code()
            .unwrap_or_else(|| panic!("{self:?}"))
    }

    #[track_caller]
    pub(crate) fn refusal(&self) -> &Refusal {
        match &self.last {
            Some(ClientEvent::Refused(refusal)) => refusal,
            _ => panic!("{self:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn failure(&self) -> &str {
        match &self.last {
            Some(ClientEvent::Failed { message }) => message,
            _ => panic!("{self:?}"),
        }
    }

    pub(crate) fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub(crate) fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

/// Clients of a server with 64 descriptors that ask the same: those whose command runs, and those that
/// wait for room. All are accepted before any command takes its descriptors.
pub(crate) fn crowd(server: &TestServer, request: &Request) -> (Vec<Client>, Vec<Client>) {
    let mut clients: Vec<_> = (0..14).map(|_| Client::open(server)).collect();
    for client in &mut clients {
        let run = client.session.send_run(request).unwrap();
        client.connection.send(run);
    }
    let silent = |client: &Client| client.connection.is_silent_for(Duration::ZERO);
    settled(40, || {
        clients.iter().filter(|client| silent(client)).count()
    });
    let (waiting, running): (Vec<_>, Vec<_>) = clients.into_iter().partition(silent);
    assert!(
        !running.is_empty() && waiting.len() >= 3,
        "{}",
        waiting.len()
    );
    (running, waiting)
}

/// How long this took, and what it returned.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let begin = Instant::now();
    let result = work();
    let elapsed = begin.elapsed();
    assert!(elapsed < DEADLINE);
    (result, elapsed)
}
