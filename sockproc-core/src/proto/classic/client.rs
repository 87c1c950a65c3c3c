//! What a classic client may say when, and what the server's bytes mean.

use std::mem;

use bytes::{Bytes, BytesMut};

use super::MAX_REPLY_LINE_LEN;
use super::request::Head;
use crate::proto::error::excerpt;
use crate::proto::line::{LineReader, TooLong};
use crate::proto::{ClientEvent, Exit, ProtocolError, Request, Stream, WaitStatus};

/// The client's side of one classic exchange: calls give bytes to send, received bytes give events.
///
/// ```
/// use sockproc_core::proto::{ClientEvent, ExitStatus, Request, Stream, classic::ClientSession};
///
/// let mut session = ClientSession::new();
/// let request = Request::line("tr a-z A-Z").with_stdin(2);
/// assert_eq!(session.send_run(&request)?, "tr a-z A-Z\r\n2\r\n");
/// assert_eq!(session.send_stdin("hi".into())?, "hi");
///
/// session.receive_data(b"status:0\r\n2\r\nHI0\r\n");
/// let stream = Stream::Stdout;
/// assert_eq!(session.next_event()?, Some(ClientEvent::Announced { stream, len: 2 }));
/// assert_eq!(session.next_event()?, Some(ClientEvent::Data { stream, data: "HI".into() }));
/// let stream = Stream::Stderr;
/// assert_eq!(session.next_event()?, Some(ClientEvent::Announced { stream, len: 0 }));
/// let Some(ClientEvent::Exited(exit)) = session.next_event()? else { panic!() };
/// assert_eq!(exit.status, ExitStatus::Code(0));
/// # Ok::<(), sockproc_core::proto::ProtocolError>(())
/// ```
#[derive(Debug)]
pub struct ClientSession {
    state: State,
    /// Announced bytes of stdin that have not been sent.
    stdin_left: u64,
    /// Announced bytes of the present stream that have not come.
    body_left: u64,
    exit: Option<Exit>,
    lines: LineReader,
    buf: BytesMut,
    eof: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing has been sent.
    Idle,
    StatusLine,
    LengthLine(Stream),
    Body(Stream),
    /// Everything has come; only [`ClientEvent::Exited`] is left to tell.
    Complete,
    Over,
}

/// Each state, and behind it the one that follows: there is no other order.
const ORDER: [State; 8] = [
    State::Idle,
    State::StatusLine,
    State::LengthLine(Stream::Stdout),
    State::Body(Stream::Stdout),
    State::LengthLine(Stream::Stderr),
    State::Body(Stream::Stderr),
    State::Complete,
    State::Over,
];

impl Default for ClientSession {
    fn default() -> Self {
        Self::new()
    }
}

impl ClientSession {
    /// A session on a fresh connection.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: State::Idle,
            stdin_left: 0,
            body_left: 0,
            exit: None,
            lines: LineReader::default(),
            buf: BytesMut::new(),
            eof: false,
        }
    }

    /// The bytes that ask for `request`; its stdin follows by [`send_stdin`](Self::send_stdin).
    ///
    /// # Errors
    /// All of them ours, and nothing is to be sent: a field that this protocol cannot carry, a command
    /// with CRLF or NUL in it or of more than [`MAX_COMMAND_LEN`](super::MAX_COMMAND_LEN) bytes, or a
    /// second request on this session.
    pub fn send_run(&mut self, request: &Request) -> Result<Bytes, ProtocolError> {
        if self.state != State::Idle {
            return Err(ProtocolError::WrongState {
                call: "a second request",
            });
        }
        let Head { line, stdin_len } = Head::of(request)?;
        self.advance();
        self.stdin_left = stdin_len;
        let count = stdin_len.to_string();
        let mut head = BytesMut::with_capacity(line.len() + count.len() + 4);
        for part in [&line[..], b"\r\n", count.as_bytes(), b"\r\n"] {
            head.extend_from_slice(part);
        }
        Ok(head.freeze())
    }

    /// The bytes that carry the next part of the announced stdin.
    ///
    /// # Errors
    /// Ours: more than was announced.
    pub fn send_stdin(&mut self, data: Bytes) -> Result<Bytes, ProtocolError> {
        let sent = data.len() as u64;
        let Some(left) = self.stdin_left.checked_sub(sent) else {
            return Err(ProtocolError::StdinLength {
                announced: self.stdin_left,
                sent,
            });
        };
        self.stdin_left = left;
        Ok(data)
    }

    /// Takes in bytes from the server; ask for [`next_event`](Self::next_event) until there is none.
    pub fn receive_data(&mut self, data: &[u8]) {
        self.buf.extend_from_slice(data);
    }

    /// Takes in end of file from the server.
    pub fn receive_eof(&mut self) {
        self.eof = true;
    }

    /// Counts `len` bytes that the driver put where [`payload`](Self::payload) said they belong,
    /// past [`receive_data`](Self::receive_data).
    ///
    /// # Errors
    /// Ours: more than `payload` allows.
    pub fn receive_payload(&mut self, len: u64) -> Result<(), ProtocolError> {
        match self.payload() {
            Some((_, left)) if len <= left => {
                self.take_body(len);
                Ok(())
            }
            _ => Err(ProtocolError::WrongState {
                call: "receive_payload",
            }),
        }
    }

    /// What the bytes so far mean; `None` when more are needed or the run is over.
    ///
    /// # Errors
    /// The peer's: an answer that no sockproc server gives, or one that ends too early.
    pub fn next_event(&mut self) -> Result<Option<ClientEvent>, ProtocolError> {
        loop {
            match self.state {
                State::Idle | State::Over => return Ok(None),
                State::Complete => {
                    self.advance();
                    let exit = self.exit.take().unwrap_or_default();
                    return Ok(Some(ClientEvent::Exited(exit)));
                }
                State::StatusLine => {
                    let Some(line) = self.next_line("status:<number>")? else {
                        return Ok(None);
                    };
                    self.exit = Some(Exit::new(parse_status(&line)?.decode()));
                    self.advance();
                }
                State::LengthLine(stream) => {
                    let Some(line) = self.next_line("a length")? else {
                        return Ok(None);
                    };
                    let len = parse_length(&line)?;
                    if let Some(exit) = &mut self.exit {
                        exit.moved_mut(stream).bytes = len;
                    }
                    self.advance();
                    self.body_left = len;
                    self.take_body(0);
                    return Ok(Some(ClientEvent::Announced { stream, len }));
                }
                State::Body(stream) => {
                    if self.buf.is_empty() {
                        return self.nothing_more();
                    }
                    let here = usize::try_from(self.body_left)
                        .unwrap_or(usize::MAX)
                        .min(self.buf.len());
                    let data = self.buf.split_to(here).freeze();
                    self.take_body(here as u64);
                    return Ok(Some(ClientEvent::Data { stream, data }));
                }
            }
        }
    }

    /// The stream to which the next bytes on the wire belong and how many of them at most, while
    /// the driver may read them straight to where they are wanted: see
    /// [`receive_payload`](Self::receive_payload).
    #[must_use]
    pub fn payload(&self) -> Option<(Stream, u64)> {
        match self.state {
            State::Body(stream) if self.buf.is_empty() => Some((stream, self.body_left)),
            _ => None,
        }
    }

    /// Whether the whole answer has come and [`ClientEvent::Exited`] was given.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    fn advance(&mut self) {
        let mut pairs = ORDER.windows(2);
        if let Some(pair) = pairs.find(|pair| pair[0] == self.state) {
            self.state = pair[1];
        }
    }

    /// Counts `len` bytes of the present stream.
    fn take_body(&mut self, len: u64) {
        self.body_left -= len;
        if self.body_left == 0 {
            self.advance();
        }
    }

    fn next_line(&mut self, expected: &'static str) -> Result<Option<Bytes>, ProtocolError> {
        match self.lines.next_line(&mut self.buf, MAX_REPLY_LINE_LEN) {
            Ok(Some(line)) => Ok(Some(line)),
            Ok(None) => {
                if expected.starts_with("status") && !begins_like_status(&self.buf) {
                    return Err(unexpected(expected, &self.buf));
                }
                self.nothing_more()
            }
            Err(TooLong) => Err(unexpected(expected, &mem::take(&mut self.buf))),
        }
    }

    /// No event can be made of what has come: wait, unless nothing more will come.
    fn nothing_more<T>(&self) -> Result<Option<T>, ProtocolError> {
        if self.eof {
            Err(ProtocolError::Truncated)
        } else {
            Ok(None)
        }
    }
}

const STATUS: &[u8] = b"status:";

fn begins_like_status(buf: &[u8]) -> bool {
    let common = buf.len().min(STATUS.len());
    buf[..common] == STATUS[..common]
}

fn parse_status(line: &[u8]) -> Result<WaitStatus, ProtocolError> {
    line.strip_prefix(STATUS)
        .and_then(number)
        .map(WaitStatus::from_raw)
        .ok_or_else(|| unexpected("status:<number>", line))
}

fn parse_length(line: &[u8]) -> Result<u64, ProtocolError> {
    number::<u64>(line).ok_or_else(|| unexpected("a length", line))
}

/// A number as the server prints it: no blanks, no plus sign.
fn number<N: std::str::FromStr>(digits: &[u8]) -> Option<N> {
    let text = std::str::from_utf8(digits).ok()?;
    if text.starts_with('+') {
        None
    } else {
        text.parse().ok()
    }
}

fn unexpected(expected: &'static str, got: &[u8]) -> ProtocolError {
    ProtocolError::Unexpected {
        expected,
        got: excerpt(got),
    }
}
