//! The opening as a client sees it.

use std::mem;

use bytes::{Bytes, BytesMut};

use super::{BEGIN, VERSION};
use crate::proto::error::excerpt;
use crate::proto::line::{LineReader, TooLong};
use crate::proto::{ClientEvent, ExitStatus, ProtocolError, Request, Stream, classic};

/// The client's side of the opening.
///
/// To find out what a server speaks, send [`OPENING`](super::OPENING) alone. To a server that is known to speak the
/// native protocol, the request may follow in the same write. Then feed what comes until there is an
/// [`Answer`].
///
/// ```
/// use sockproc_core::proto::opening::{Answer, ClientOpening};
///
/// let mut opening = ClientOpening::new();
/// opening.receive_data(b"#sockproc/2\r\n\x11\0");
/// assert_eq!(opening.answer()?, Some(Answer::Native { rest: b"\x11\0"[..].into() }));
/// # Ok::<(), sockproc_core::proto::ProtocolError>(())
/// ```
#[derive(Debug)]
pub struct ClientOpening {
    state: State,
    buf: BytesMut,
    lines: LineReader,
    eof: bool,
}

#[derive(Debug)]
enum State {
    FirstLine,
    /// A classic server answers something else than success; its message is read.
    Classic(Box<classic::ClientSession>, Vec<u8>),
}

/// What a server made of an opening.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// It speaks the native protocol.
    Native {
        /// What came behind its greeting: feed it to the session.
        rest: Bytes,
    },
    /// It speaks the classic protocol only, and has run a comment. This connection is spent. If a
    /// request was sent behind the opening, it was not run.
    Classic,
    /// It speaks the classic protocol, and could not run even a comment: it is busy, or its shell is
    /// missing. No request was run.
    ClassicFailure {
        /// What it says instead of success.
        status: ExitStatus,
        /// What it says on stderr, at most 1,024 bytes.
        message: Vec<u8>,
    },
}

impl Default for ClientOpening {
    fn default() -> Self {
        Self::new()
    }
}

impl ClientOpening {
    /// The opening of a fresh connection.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: State::FirstLine,
            buf: BytesMut::new(),
            lines: LineReader::default(),
            eof: false,
        }
    }

    /// Takes in bytes from the server; ask for the [`answer`](Self::answer) then.
    pub fn receive_data(&mut self, data: &[u8]) {
        match &mut self.state {
            State::FirstLine => self.buf.extend_from_slice(data),
            State::Classic(session, _) => session.receive_data(data),
        }
    }

    /// Takes in end of file from the server.
    pub fn receive_eof(&mut self) {
        self.eof = true;
        if let State::Classic(session, _) = &mut self.state {
            session.receive_eof();
        }
    }

    /// What the bytes so far mean; `None` when more are needed. Not to be asked again after an
    /// answer.
    ///
    /// # Errors
    /// The peer's: [`ProtocolError::Truncated`] if the server has closed before it answered, which is
    /// safe to try again; [`Version`](ProtocolError::Version);
    /// [`Unexpected`](ProtocolError::Unexpected) if it is no sockproc server.
    pub fn answer(&mut self) -> Result<Option<Answer>, ProtocolError> {
        if matches!(self.state, State::FirstLine) {
            let line = self.lines.next_line(&mut self.buf, MAX_LINE_LEN);
            match line {
                Err(TooLong) => return Err(unexpected(&self.buf)),
                Ok(None) => return self.unfinished(),
                Ok(Some(line)) if line.starts_with(STATUS) => {
                    if line == SUCCESS {
                        return Ok(Some(Answer::Classic));
                    }
                    self.state = State::Classic(self.classic(&line)?, Vec::new());
                }
                Ok(Some(line)) => {
                    greeting(&line)?;
                    let rest = self.buf.split().freeze();
                    return Ok(Some(Answer::Native { rest }));
                }
            }
        }
        self.classic_failure()
    }

    /// A line that has not ended: there is no need to wait for more of one that is wrong already.
    fn unfinished(&self) -> Result<Option<Answer>, ProtocolError> {
        let begins_like = |known: &[u8]| {
            let common = self.buf.len().min(known.len());
            self.buf[..common] == known[..common]
        };
        if !begins_like(BEGIN) && !begins_like(STATUS) {
            return Err(unexpected(&self.buf));
        }
        if self.eof {
            return Err(ProtocolError::Truncated);
        }
        Ok(None)
    }

    /// A classic session that has read all that came.
    fn classic(&mut self, line: &[u8]) -> Result<Box<classic::ClientSession>, ProtocolError> {
        let mut session = classic::ClientSession::new();
        session.send_run(&Request::line(""))?;
        for bytes in [line, b"\r\n", &self.buf.split()] {
            session.receive_data(bytes);
        }
        if self.eof {
            session.receive_eof();
        }
        Ok(Box::new(session))
    }

    fn classic_failure(&mut self) -> Result<Option<Answer>, ProtocolError> {
        let State::Classic(session, message) = &mut self.state else {
            return Ok(None);
        };
        while let Some(event) = session.next_event()? {
            match event {
                ClientEvent::Data {
                    stream: Stream::Stderr,
                    data,
                } => {
                    let room = MAX_MESSAGE_LEN - message.len();
                    message.extend_from_slice(&data[..data.len().min(room)]);
                }
                ClientEvent::Exited(exit) => {
                    let status = exit.status;
                    let message = mem::take(message);
                    return Ok(Some(Answer::ClassicFailure { status, message }));
                }
                _ => {}
            }
        }
        Ok(None)
    }
}

/// The longest line of an answer; greetings and `status:` lines fit easily.
const MAX_LINE_LEN: usize = 64;

/// The most that is kept of what a classic server says to an opening.
const MAX_MESSAGE_LEN: usize = 1024;

const STATUS: &[u8] = b"status:";

const SUCCESS: &[u8] = b"status:0";

/// Checks the line of a server that is not classic.
fn greeting(line: &[u8]) -> Result<(), ProtocolError> {
    match line.strip_prefix(BEGIN) {
        Some(version) if version == VERSION.to_string().as_bytes() => Ok(()),
        Some(version) if version.iter().all(u8::is_ascii_digit) => Err(ProtocolError::Version {
            version: excerpt(version),
        }),
        _ => Err(unexpected(line)),
    }
}

fn unexpected(got: &[u8]) -> ProtocolError {
    ProtocolError::Unexpected {
        expected: "#sockproc/2 or status:0",
        got: excerpt(got),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::WaitStatus;
    use crate::proto::opening::GREETING;

    fn answer(bytes: &[u8], eof: bool) -> Result<Option<Answer>, ProtocolError> {
        let mut opening = ClientOpening::new();
        for byte in bytes {
            opening.receive_data(&[*byte]);
            if let Some(answer) = opening.answer()? {
                return Ok(Some(answer));
            }
        }
        if eof {
            opening.receive_eof();
        }
        opening.answer()
    }

    #[test]
    fn what_a_server_answers_is_told_apart() {
        let rest = Bytes::new();
        assert_eq!(answer(GREETING, false), Ok(Some(Answer::Native { rest })));
        let classic = Ok(Some(Answer::Classic));
        assert_eq!(answer(b"status:0\r\n0\r\n0\r\n", true), classic);
        let busy = answer(b"status:19200\r\n0\r\n5\r\nbusy\n", true);
        let status = WaitStatus::from_code(75).decode();
        let message = b"busy\n".to_vec();
        assert_eq!(busy, Ok(Some(Answer::ClassicFailure { status, message })));
        assert_eq!(answer(b"", true), Err(ProtocolError::Truncated));
        assert_eq!(answer(b"#sock", true), Err(ProtocolError::Truncated));
        let version = "3".to_owned();
        let other = Err(ProtocolError::Version { version });
        assert_eq!(answer(b"#sockproc/3\r\n", false), other);
    }

    #[test]
    fn a_stranger_is_known_by_its_first_bytes() {
        for stranger in [
            "HTTP",
            "#sh",
            "status;",
            "#sockproc/2x\r\n",
            "status:9999999999\r\n",
        ] {
            let error = answer(stranger.as_bytes(), false).unwrap_err();
            assert!(matches!(error, ProtocolError::Unexpected { .. }), "{error}");
        }
        let endless = [BEGIN, &[b'1'; 100]].concat();
        assert!(answer(&endless, false).is_err());
    }
}
