//! What a native server hears, and how it answers.

use std::mem;

use bytes::Bytes;

use super::credit::Window;
use super::deframer::{Deframer, Part};
use super::frame::{FrameType, Header, MAX_DATA_LEN, frame, header};
use super::signals::HeldSignals;
use super::state::{Conversation, Side};
use super::{message, run};
use crate::proto::{Exit, ProtocolError, Refusal, ServerEvent, Stream};

/// The server's side of one native run, from behind the [opening](crate::proto::opening).
///
/// ```
/// use sockproc_core::proto::{Exit, Request, ServerEvent, Stream, WaitStatus, native::ServerSession};
///
/// let mut session = ServerSession::new();
/// session.receive_data(b"\x01\0\0\0\x0dline=echo hi\0");
/// let Some(ServerEvent::Run(request)) = session.next_event()? else { panic!() };
/// assert_eq!(request.invocation, Request::line("echo hi").invocation);
/// assert_eq!(session.next_event()?, None);
///
/// assert_eq!(session.send_started(7)?, &b"\x11\0\0\0\x06pid=7\0"[..]);
/// assert_eq!(session.send_data(Stream::Stdout, 3)?, *b"\x12\0\0\0\x03"); // and then the 3 bytes
/// assert_eq!(session.send_end(Stream::Stdout)?, &b"\x14\0\0\0\0"[..]);
/// assert_eq!(session.send_end(Stream::Stderr)?, &b"\x15\0\0\0\0"[..]);
/// let exit = Exit::new(WaitStatus::from_code(0).decode());
/// assert!(session.send_exited(&exit)?.starts_with(b"\x18"));
/// # Ok::<(), sockproc_core::proto::ProtocolError>(())
/// ```
#[derive(Debug)]
pub struct ServerSession {
    conversation: Conversation,
    window: Window,
    frames: Deframer,
    signals: HeldSignals,
    cancelled: bool,
    eof: bool,
    /// Whether nothing more is heard: an error, or the end of the client, was told.
    deaf: bool,
}

impl Default for ServerSession {
    fn default() -> Self {
        Self::new()
    }
}

impl ServerSession {
    /// A session on a connection whose opening has been read.
    #[must_use]
    pub fn new() -> Self {
        Self {
            conversation: Conversation::new(Side::Server),
            window: Window::new(),
            frames: Deframer::new(),
            signals: HeldSignals::default(),
            cancelled: false,
            eof: false,
            deaf: false,
        }
    }

    /// Takes in bytes from the client; ask for [`next_event`](Self::next_event) until there is none.
    /// After the last frame of the server they are ignored.
    pub fn receive_data(&mut self, data: &[u8]) {
        if !self.deaf && !self.conversation.is_over() {
            self.frames.feed(data);
        }
    }

    /// Takes in end of file from the client: it has gone.
    pub fn receive_eof(&mut self) {
        self.eof = true;
    }

    /// Counts `len` bytes of stdin that the driver moved itself; see [`stdin_left`](Self::stdin_left).
    ///
    /// # Errors
    /// Ours: more than `stdin_left` allows.
    pub fn receive_stdin(&mut self, len: u64) -> Result<(), ProtocolError> {
        if len <= self.stdin_left() && self.frames.skip_data(len) {
            return Ok(());
        }
        Err(ProtocolError::WrongState {
            call: "receive_stdin",
        })
    }

    /// What the bytes so far mean; `None` when more are needed or nothing more counts.
    ///
    /// Signals are held until [`send_started`](Self::send_started); stdin is not.
    ///
    /// # Errors
    /// The peer's: answer it by [`send_failed`](Self::send_failed), and end what was started.
    pub fn next_event(&mut self) -> Result<Option<ServerEvent>, ProtocolError> {
        if self.deaf || self.conversation.is_over() {
            return Ok(None);
        }
        if self.conversation.is_running()
            && let Some((number, to)) = self.signals.release()
        {
            return Ok(Some(ServerEvent::Signal { number, to }));
        }
        let event = self.find_event();
        self.deaf = matches!(event, Err(_) | Ok(Some(ServerEvent::Gone)));
        event
    }

    /// Keeps no more stdin under way than [`FIRST_WINDOW`](super::FIRST_WINDOW) while the command runs,
    /// instead of [`WINDOW`](super::WINDOW). Call it before [`send_started`](Self::send_started).
    pub fn keep_window_small(&mut self) {
        self.window.stay_small();
    }

    /// The frame that says that the command runs.
    ///
    /// # Errors
    /// Ours: nothing was asked, or it was answered already.
    pub fn send_started(&mut self, pid: u32) -> Result<Bytes, ProtocolError> {
        self.conversation.send(FrameType::Started)?;
        self.window.open();
        Ok(message::started(pid))
    }

    /// The header of a frame that carries the next `len` bytes of a stream, at most [`MAX_DATA_LEN`].
    /// Exactly these bytes follow it.
    ///
    /// # Errors
    /// Ours: too many bytes, the stream has ended or is not in frames, or the command does not run.
    pub fn send_data(&mut self, stream: Stream, len: usize) -> Result<Header, ProtocolError> {
        if len > MAX_DATA_LEN {
            return Err(ProtocolError::WrongState { call: "send_data" });
        }
        let kind = FrameType::data(stream);
        self.conversation.send(kind)?;
        Ok(header(kind, len))
    }

    /// The frame that says that a stream is at its end.
    ///
    /// # Errors
    /// Ours: the stream has ended or is not in frames, or the command does not run.
    pub fn send_end(&mut self, stream: Stream) -> Result<Bytes, ProtocolError> {
        let kind = FrameType::end(stream);
        self.conversation.send(kind).map(|()| frame(kind, b""))
    }

    /// Takes in that the command's pipe has got the next `len` bytes of what came as stdin. Call it
    /// with 0 behind `send_started` too, since the start raises the client's credit.
    ///
    /// Returns the CREDIT frame that is due now, if one is. No other becomes due before
    /// [`credit_written`](Self::credit_written).
    pub fn stdin_taken(&mut self, len: u64) -> Option<Bytes> {
        self.window.take(len);
        self.credit()
    }

    /// Takes in that the last CREDIT frame is on its way. Returns the next one, if it is due.
    pub fn credit_written(&mut self) -> Option<Bytes> {
        self.window.written();
        self.credit()
    }

    /// The frame that says that the command reads no more of its stdin. What still comes of it is
    /// thrown away here.
    ///
    /// # Errors
    /// Ours: stdin is not in frames, this was said already, or the command does not run.
    pub fn send_stdin_closed(&mut self) -> Result<Bytes, ProtocolError> {
        self.conversation.send(FrameType::StdinClosed)?;
        Ok(frame(FrameType::StdinClosed, b""))
    }

    /// The last frame of a run.
    ///
    /// # Errors
    /// Ours: the command does not run, or a stream's end was not told.
    pub fn send_exited(&mut self, exit: &Exit) -> Result<Bytes, ProtocolError> {
        self.conversation.send(FrameType::Exited)?;
        Ok(message::exited(exit))
    }

    /// The last frame to a client whose request is not run.
    ///
    /// # Errors
    /// Ours: the command has been started.
    pub fn send_refused(&mut self, refusal: &Refusal) -> Result<Bytes, ProtocolError> {
        self.conversation.send(FrameType::Refused)?;
        Ok(message::refused(refusal))
    }

    /// The last frame to a client that has made `error`: REFUSED for a bad request, else ERROR. Empty
    /// if the last frame was sent already.
    pub fn send_failed(&mut self, error: &ProtocolError) -> Bytes {
        if let ProtocolError::BadRequest(refusal) = error
            && let Ok(frame) = self.send_refused(refusal)
        {
            return frame;
        }
        match self.conversation.send(FrameType::Error) {
            Ok(()) => message::error(&error.to_string()),
            Err(_) => Bytes::new(),
        }
    }

    /// Bytes of stdin that the next bytes on the wire are at least, while the driver may move them
    /// from the transport to the command itself: see [`receive_stdin`](Self::receive_stdin).
    #[must_use]
    pub fn stdin_left(&self) -> u64 {
        match self.frames.direct() {
            Some((_, left)) if self.wants_stdin() => left as u64,
            _ => 0,
        }
    }

    /// How many bytes the session holds, for budgets: most of them are of a request that is not whole.
    #[must_use]
    pub fn held(&self) -> usize {
        self.frames.held()
    }

    /// Whether the last frame was sent.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.conversation.is_over()
    }

    fn find_event(&mut self) -> Result<Option<ServerEvent>, ProtocolError> {
        while let Some(part) = self.frames.next_part()? {
            match part {
                Part::Header(kind, len) => {
                    self.conversation.expect(kind)?;
                    if kind == FrameType::Stdin {
                        self.window.charge(len)?;
                    }
                }
                Part::Data(_, data) if self.wants_stdin() => {
                    return Ok(Some(ServerEvent::Stdin(data)));
                }
                Part::Data(..) => {}
                Part::Control(kind, payload) => {
                    let event = self.control(kind, payload)?;
                    self.conversation.receive(kind);
                    if let Some(ServerEvent::Run(request)) = &event {
                        self.conversation.open(request);
                    }
                    if event.is_some() {
                        return Ok(event);
                    }
                }
            }
        }
        Ok(self.eof.then_some(ServerEvent::Gone))
    }

    fn control(
        &mut self,
        kind: FrameType,
        payload: Bytes,
    ) -> Result<Option<ServerEvent>, ProtocolError> {
        match kind {
            FrameType::Run => Ok(Some(ServerEvent::Run(Box::new(run::read_run(payload)?)))),
            FrameType::Signal => {
                let (number, to) = message::read_signal(payload)?;
                if self.conversation.is_running() {
                    return Ok(Some(ServerEvent::Signal { number, to }));
                }
                self.signals.hold(number, to);
                Ok(None)
            }
            FrameType::Cancel => {
                message::read_empty(kind, payload)?;
                let is_first = !mem::replace(&mut self.cancelled, true);
                Ok(is_first.then_some(ServerEvent::Cancel))
            }
            _ => {
                message::read_empty(kind, payload)?;
                Ok(self.wants_stdin().then_some(ServerEvent::StdinEnd))
            }
        }
    }

    fn credit(&mut self) -> Option<Bytes> {
        let wanted = self.conversation.is_running()
            && self.conversation.is_open(FrameType::StdinEnd)
            && self.conversation.is_open(FrameType::StdinClosed);
        let bytes = if wanted { self.window.grant() } else { None };
        bytes.map(message::credit)
    }

    /// Whether the command may still read its stdin.
    fn wants_stdin(&self) -> bool {
        let deaf = self.deaf || self.conversation.is_over();
        !deaf && self.conversation.is_open(FrameType::StdinClosed)
    }
}
