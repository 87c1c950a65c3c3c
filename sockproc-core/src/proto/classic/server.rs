//! What a classic server hears, and how it answers.

use std::mem;

use bytes::{Bytes, BytesMut};

use super::{MAX_COMMAND_LEN, MAX_COUNT_LINE_LEN, count};
use crate::proto::error::excerpt;
use crate::proto::line::{LineReader, TooLong};
use crate::proto::{ProtocolError, Refusal, RefusalKind, Request, ServerEvent, WaitStatus};

/// The server's side of one classic exchange.
///
/// ```
/// use sockproc_core::proto::{Request, ServerEvent, WaitStatus, classic::ServerSession};
///
/// let mut session = ServerSession::new();
/// session.receive_data(b"cat\r\n2\r\nhi and a byte too many");
/// let request = Box::new(Request::line("cat").with_stdin(2));
/// assert_eq!(session.next_event()?, Some(ServerEvent::Run(request)));
/// assert_eq!(session.next_event()?, Some(ServerEvent::Stdin("hi".into())));
/// assert_eq!(session.next_event()?, Some(ServerEvent::StdinEnd));
/// assert_eq!(session.next_event()?, None);
///
/// assert_eq!(session.send_exited(WaitStatus::from_code(0), 2), "status:0\r\n2\r\n");
/// assert_eq!(session.send_stderr_len(0), "0\r\n");
/// # Ok::<(), sockproc_core::proto::ProtocolError>(())
/// ```
#[derive(Debug)]
pub struct ServerSession {
    state: State,
    /// The command, between its line and the next.
    command: Bytes,
    /// Announced bytes of stdin that were not told yet.
    stdin_left: u64,
    refuse_http: bool,
    /// Bytes of the first line that are known to hold no NUL.
    checked: usize,
    lines: LineReader,
    buf: BytesMut,
    eof: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    CommandLine,
    CountLine,
    Stdin,
    /// The request is whole; whatever else comes is ignored.
    Whole,
}

/// Each state, and behind it the one that follows: there is no other order.
const ORDER: [State; 4] = [
    State::CommandLine,
    State::CountLine,
    State::Stdin,
    State::Whole,
];

impl Default for ServerSession {
    fn default() -> Self {
        Self::new()
    }
}

impl ServerSession {
    /// A session on a fresh connection.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: State::CommandLine,
            command: Bytes::new(),
            stdin_left: 0,
            refuse_http: false,
            checked: 0,
            lines: LineReader::default(),
            buf: BytesMut::new(),
            eof: false,
        }
    }

    /// Takes a first line that ends in ` HTTP/<digit>.<digit>` for an error, not for a command: a web
    /// page can make a browser connect to a loopback port.
    #[must_use]
    pub fn refuse_http(mut self) -> Self {
        self.refuse_http = true;
        self
    }

    /// Takes in bytes from the client; ask for [`next_event`](Self::next_event) until there is none.
    pub fn receive_data(&mut self, data: &[u8]) {
        if self.state != State::Whole {
            self.buf.extend_from_slice(data);
        }
    }

    /// Takes in that the client has half-closed. Not to be called when the client is gone
    /// altogether: half a request is not to be run.
    pub fn receive_eof(&mut self) {
        self.eof = true;
    }

    /// Counts `len` bytes of stdin that the driver moved itself; see [`stdin_left`](Self::stdin_left).
    ///
    /// # Errors
    /// Ours: more than `stdin_left` allows.
    pub fn receive_stdin(&mut self, len: u64) -> Result<(), ProtocolError> {
        if self.state != State::Stdin || len > self.stdin_left() {
            return Err(ProtocolError::WrongState {
                call: "receive_stdin",
            });
        }
        self.stdin_left -= len;
        Ok(())
    }

    /// What the bytes so far mean; `None` when more are needed or the request is whole.
    ///
    /// # Errors
    /// The peer's: a command or a count that cannot be run; nothing of it is to be run.
    pub fn next_event(&mut self) -> Result<Option<ServerEvent>, ProtocolError> {
        loop {
            match self.state {
                State::CommandLine => {
                    let Some(command) = self.command_line()? else {
                        return Ok(None);
                    };
                    self.command = command;
                    self.advance();
                }
                State::CountLine => {
                    let Some(stdin_len) = self.count_line()? else {
                        return Ok(None);
                    };
                    self.stdin_left = stdin_len;
                    self.advance();
                    let command = mem::take(&mut self.command);
                    let request = Request::line(command).with_stdin(stdin_len);
                    return Ok(Some(ServerEvent::Run(Box::new(request))));
                }
                State::Stdin if self.stdin_left == 0 => {
                    self.advance();
                    self.buf = BytesMut::new();
                    return Ok(Some(ServerEvent::StdinEnd));
                }
                State::Stdin if !self.buf.is_empty() => {
                    let left = usize::try_from(self.stdin_left).unwrap_or(usize::MAX);
                    let here = left.min(self.buf.len());
                    self.stdin_left -= here as u64;
                    return Ok(Some(ServerEvent::Stdin(self.buf.split_to(here).freeze())));
                }
                // The client has half-closed: there will be no more.
                State::Stdin if self.eof => self.stdin_left = 0,
                State::Stdin => return Ok(None),
                State::Whole => return Ok(None),
            }
        }
    }

    /// Bytes of stdin that are still to come, while the driver may move them from the transport to
    /// the command itself: see [`receive_stdin`](Self::receive_stdin).
    #[must_use]
    pub fn stdin_left(&self) -> u64 {
        if self.buf.is_empty() {
            self.stdin_left
        } else {
            0
        }
    }

    /// Bytes of stdin that were announced and have not come here yet.
    #[must_use]
    pub fn stdin_missing(&self) -> u64 {
        self.stdin_left.saturating_sub(self.buf.len() as u64)
    }

    /// The beginning of the reply: the command's wait status, and how many bytes of stdout follow.
    #[must_use]
    pub fn send_exited(&self, status: WaitStatus, stdout_len: u64) -> Bytes {
        format!("status:{}\r\n{stdout_len}\r\n", status.raw()).into()
    }

    /// What stands between stdout and stderr: how many bytes of stderr follow.
    #[must_use]
    pub fn send_stderr_len(&self, stderr_len: u64) -> Bytes {
        format!("{stderr_len}\r\n").into()
    }

    /// The whole reply to a request that was not run.
    #[must_use]
    pub fn send_refused(&self, refusal: &Refusal) -> Bytes {
        let note = note(&refusal.message);
        let status = wait_status(refusal.kind).raw();
        format!("status:{status}\r\n0\r\n{}\r\n{note}", note.len()).into()
    }

    fn advance(&mut self) {
        let mut pairs = ORDER.windows(2);
        if let Some(pair) = pairs.find(|pair| pair[0] == self.state) {
            self.state = pair[1];
        }
    }

    fn command_line(&mut self) -> Result<Option<Bytes>, ProtocolError> {
        let limit = MAX_COMMAND_LEN;
        let too_long = |TooLong| ProtocolError::CommandTooLong { limit };
        let line = self.lines.next_line(&mut self.buf, limit);
        let line = match line.map_err(too_long)? {
            Some(line) => line,
            None if self.eof => {
                let line = self.lines.last_line(&mut self.buf, limit);
                line.map_err(too_long)?
            }
            None => {
                // A NUL is refused as soon as it is seen: a TLS client would never send a line.
                refuse_nul(&self.buf, self.checked)?;
                self.checked = self.buf.len();
                return Ok(None);
            }
        };
        refuse_nul(&line, self.checked.min(line.len()))?;
        if self.refuse_http && is_http_request(&line) {
            return Err(ProtocolError::HttpRequest {
                line: excerpt(&line),
            });
        }
        Ok(Some(line))
    }

    fn count_line(&mut self) -> Result<Option<u64>, ProtocolError> {
        let limit = MAX_COUNT_LINE_LEN;
        let line = match self.lines.next_line(&mut self.buf, limit) {
            Ok(None) if self.eof => self.lines.last_line(&mut self.buf, limit).map(Some),
            line => line,
        };
        match line {
            Ok(line) => line.map(|line| count::parse(&line)).transpose(),
            Err(TooLong) => Err(ProtocolError::LineTooLong { limit }),
        }
    }
}

/// The wait status that stands for a refusal: an exit code from `sysexits.h` (64 `EX_USAGE`,
/// 69 `EX_UNAVAILABLE`, 71 `EX_OSERR`, 75 `EX_TEMPFAIL`).
const fn wait_status(kind: RefusalKind) -> WaitStatus {
    WaitStatus::from_code(match kind {
        RefusalKind::BadRequest => 64,
        RefusalKind::Policy | RefusalKind::Unsupported | RefusalKind::Other => 69,
        RefusalKind::CannotSpawn => 71,
        RefusalKind::Busy
        | RefusalKind::QueueTimeout
        | RefusalKind::ShuttingDown
        | RefusalKind::Cancelled => 75,
    })
}

/// A line in which the server itself speaks on a command's stderr.
#[must_use]
pub fn note(message: &str) -> String {
    format!("sockproc: {message}\n")
}

fn refuse_nul(line: &[u8], from: usize) -> Result<(), ProtocolError> {
    match line[from..].iter().position(|&b| b == 0) {
        Some(found) => Err(ProtocolError::NulInCommand {
            offset: from + found,
        }),
        None => Ok(()),
    }
}

fn is_http_request(line: &[u8]) -> bool {
    matches!(
        line,
        [.., b' ', b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit()
    )
}
