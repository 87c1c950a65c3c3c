//! What a native client may say when, and what the server's frames mean.

use bytes::Bytes;

use super::credit::Credit;
use super::deframer::{Deframer, Part};
use super::frame::{FrameType, frame, header};
use super::state::{Conversation, Side};
use super::{message, run};
use crate::proto::{ClientEvent, ProtocolError, Request, SignalTo, Stream};

/// The client's side of one native run, from behind the [opening](crate::proto::opening): calls
/// return bytes to send, received bytes become events.
///
/// ```
/// use sockproc_core::proto::{Argv, ClientEvent, Request, Stream, StreamMode, native::ClientSession};
///
/// let mut session = ClientSession::new();
/// let mut request = Request::argv(Argv::new(["tr", "a-z", "A-Z"])?);
/// request.stdin = StreamMode::Piped;
/// let run = session.send_run(&request)?;
/// assert_eq!(run, &b"\x01\0\0\0\x24arg=tr\0arg=a-z\0arg=A-Z\0stdin=frames\0"[..]);
/// assert_eq!(session.send_stdin("hi".into())?, [&b"\x02\0\0\0\x02"[..], b"hi"]);
/// assert_eq!(session.send_stdin_end()?, &b"\x03\0\0\0\0"[..]);
///
/// session.receive_data(b"\x11\0\0\0\x06pid=7\0\x12\0\0\0\x02HI");
/// assert_eq!(session.next_event()?, Some(ClientEvent::Started { pid: 7 }));
/// let stream = Stream::Stdout;
/// assert_eq!(session.next_event()?, Some(ClientEvent::Data { stream, data: "HI".into() }));
/// assert_eq!(session.next_event()?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ClientSession {
    conversation: Conversation,
    credit: Credit,
    frames: Deframer,
    eof: bool,
    /// Whether the last event was told, or an error.
    over: bool,
}

impl Default for ClientSession {
    fn default() -> Self {
        Self::new()
    }
}

impl ClientSession {
    /// A session on a connection whose opening is done, or sent in the same write as the request.
    #[must_use]
    pub fn new() -> Self {
        Self {
            conversation: Conversation::new(Side::Client),
            credit: Credit::new(),
            frames: Deframer::new(),
            eof: false,
            over: false,
        }
    }

    /// The frame that asks for `request`.
    ///
    /// # Errors
    /// All of them ours, and nothing is to be sent: a value that no server takes, a request of more
    /// than [`MAX_RUN_LEN`](super::MAX_RUN_LEN) bytes, or a second request on this session.
    pub fn send_run(&mut self, request: &Request) -> Result<Bytes, ProtocolError> {
        let frame = run::run(request)?;
        self.conversation.send(FrameType::Run)?;
        self.conversation.open(request);
        Ok(frame)
    }

    /// The frame that carries the next part of stdin, as its header and the data. Both are to be sent
    /// whole, one after the other. Both are empty if the data is, or if the command reads no more.
    ///
    /// # Errors
    /// Ours: more than [`stdin_credit`](Self::stdin_credit), stdin has ended or is not in frames, or
    /// the run is over.
    pub fn send_stdin(&mut self, data: Bytes) -> Result<[Bytes; 2], ProtocolError> {
        self.conversation.send(FrameType::Stdin)?;
        if data.is_empty() || self.is_stdin_closed() {
            return Ok([Bytes::new(), Bytes::new()]);
        }
        self.credit.spend(data.len())?;
        let header = header(FrameType::Stdin, data.len());
        Ok([Bytes::copy_from_slice(&header), data])
    }

    /// The frame that ends stdin.
    ///
    /// # Errors
    /// Ours: stdin has ended or is not in frames, or the run is over.
    pub fn send_stdin_end(&mut self) -> Result<Bytes, ProtocolError> {
        self.conversation.send(FrameType::StdinEnd)?;
        Ok(frame(FrameType::StdinEnd, b""))
    }

    /// The frame that sends the signal of this number.
    ///
    /// # Errors
    /// Ours: a number that is not from 1 to 64, nothing was asked, or the run is over.
    pub fn send_signal(&mut self, number: u8, to: SignalTo) -> Result<Bytes, ProtocolError> {
        if !(1..=64).contains(&number) {
            return Err(ProtocolError::Invalid {
                name: "number",
                why: format!("{number} is not from 1 to 64"),
            });
        }
        self.conversation.send(FrameType::Signal)?;
        Ok(message::signal(number, to))
    }

    /// The frame that ends the run with its whole tree. The session goes on to its last event.
    ///
    /// # Errors
    /// Ours: nothing was asked, or the run is over.
    pub fn send_cancel(&mut self) -> Result<Bytes, ProtocolError> {
        self.conversation.send(FrameType::Cancel)?;
        Ok(frame(FrameType::Cancel, b""))
    }

    /// Takes in bytes from the server; ask for [`next_event`](Self::next_event) until there is none.
    pub fn receive_data(&mut self, data: &[u8]) {
        if !self.over {
            self.frames.feed(data);
        }
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
        if self.frames.skip_data(len) {
            return Ok(());
        }
        Err(ProtocolError::WrongState {
            call: "receive_payload",
        })
    }

    /// What the bytes so far mean; `None` when more are needed or the run is over. It may raise
    /// [`stdin_credit`](Self::stdin_credit) on the way.
    ///
    /// # Errors
    /// The peer's: frames that no server of this protocol sends, or an end before the last event.
    pub fn next_event(&mut self) -> Result<Option<ClientEvent>, ProtocolError> {
        if self.over {
            return Ok(None);
        }
        let event = self.find_event();
        self.over = match &event {
            Ok(_) => self.conversation.is_over(),
            Err(_) => true,
        };
        event
    }

    /// The stream to which the next bytes on the wire belong and how many of them at most, while
    /// the driver may read them straight to where they are wanted: see
    /// [`receive_payload`](Self::receive_payload).
    #[must_use]
    pub fn payload(&self) -> Option<(Stream, u64)> {
        match self.frames.direct() {
            Some((FrameType::Stdout, left)) => Some((Stream::Stdout, left as u64)),
            Some((FrameType::Stderr, left)) => Some((Stream::Stderr, left as u64)),
            _ => None,
        }
    }

    /// The most bytes that the next [`send_stdin`](Self::send_stdin) takes. 0: wait for the server,
    /// unless stdin has ended, or [`ClientEvent::StdinClosed`] was told.
    #[must_use]
    pub fn stdin_credit(&self) -> usize {
        if self.conversation.is_open(FrameType::StdinEnd) && !self.is_stdin_closed() {
            self.credit.left()
        } else {
            0
        }
    }

    /// Whether the last event was told: [`ClientEvent::Exited`], [`Refused`](ClientEvent::Refused)
    /// or [`Failed`](ClientEvent::Failed).
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over && self.conversation.is_over()
    }

    fn find_event(&mut self) -> Result<Option<ClientEvent>, ProtocolError> {
        while let Some(part) = self.frames.next_part()? {
            match part {
                Part::Header(kind, _) => self.conversation.expect(kind)?,
                Part::Data(kind, data) => {
                    let stream = match kind {
                        FrameType::Stderr => Stream::Stderr,
                        _ => Stream::Stdout,
                    };
                    return Ok(Some(ClientEvent::Data { stream, data }));
                }
                Part::Control(kind, payload) => {
                    if let Some(event) = self.control(kind, payload)? {
                        self.conversation.receive(kind);
                        return Ok(Some(event));
                    }
                }
            }
        }
        if self.eof {
            return Err(ProtocolError::Truncated);
        }
        Ok(None)
    }

    fn control(
        &mut self,
        kind: FrameType,
        payload: Bytes,
    ) -> Result<Option<ClientEvent>, ProtocolError> {
        let event = match kind {
            FrameType::Started => ClientEvent::Started {
                pid: message::read_started(payload)?,
            },
            FrameType::Credit => {
                self.credit.add(message::read_credit(payload)?);
                return Ok(None);
            }
            FrameType::Exited => ClientEvent::Exited(message::read_exited(payload)?),
            FrameType::Refused => ClientEvent::Refused(message::read_refused(payload)?),
            FrameType::Error => ClientEvent::Failed {
                message: message::read_error(payload)?,
            },
            _ => {
                message::read_empty(kind, payload)?;
                match kind {
                    FrameType::StdoutEnd => ClientEvent::End(Stream::Stdout),
                    FrameType::StderrEnd => ClientEvent::End(Stream::Stderr),
                    FrameType::StdinClosed => ClientEvent::StdinClosed,
                    // The conversation expects no other.
                    _ => return Ok(None),
                }
            }
        };
        Ok(Some(event))
    }

    /// Whether the command reads no more of its stdin.
    fn is_stdin_closed(&self) -> bool {
        !self.conversation.is_open(FrameType::StdinClosed)
    }
}
