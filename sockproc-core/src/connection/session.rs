//! The protocols a connection can speak, behind one set of methods.

use bytes::Bytes;

use crate::Error;
use crate::proto::opening::{Answer, ClientOpening};
use crate::proto::{
    ClientEvent, ProtocolError, Request, SignalTo, Stream, StreamMode, classic, native,
};

#[derive(Debug)]
pub(super) enum Session {
    Classic {
        session: classic::ClientSession,
        /// Whether the server learns of the end of stdin by a half-close.
        is_endless: bool,
    },
    /// The opening is on its way; what the server speaks is not certain yet.
    Opening(Box<Opening>),
    Native(Box<native::ClientSession>),
}

#[derive(Debug)]
pub(super) struct Opening {
    answer: ClientOpening,
    native: native::ClientSession,
    /// The native request, if it waits for the answer.
    request: Option<Bytes>,
}

/// What goes out next when stdin has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StdinEnd {
    /// Nothing: the server counts.
    Counted,
    /// Nothing, and never again on this connection.
    HalfClose,
    /// This.
    Frame(Bytes),
}

impl Session {
    /// A session that asks for `request`, and the bytes that do so.
    pub(super) fn classic(request: &Request) -> Result<(Self, Bytes), ProtocolError> {
        let mut session = classic::ClientSession::new();
        let head = session.send_run(request)?;
        let is_endless = request.stdin == StreamMode::Piped && request.stdin_len.is_none();
        let session = Self::Classic {
            session,
            is_endless,
        };
        Ok((session, head))
    }

    /// A session that asks the server what it speaks, and the bytes of the native request: they are
    /// held back until it has answered, or are to be sent behind the opening.
    pub(super) fn opening(
        request: &Request,
        is_held_back: bool,
    ) -> Result<(Self, Bytes), ProtocolError> {
        let mut native = native::ClientSession::new();
        let head = native.send_run(request)?;
        let opening = Opening {
            answer: ClientOpening::new(),
            native,
            request: is_held_back.then(|| head.clone()),
        };
        let behind = if is_held_back { Bytes::new() } else { head };
        Ok((Self::Opening(Box::new(opening)), behind))
    }

    /// How much stdin may be sent now.
    pub(super) fn stdin_room(&self) -> u64 {
        match self {
            Self::Classic { .. } => u64::MAX,
            Self::Opening(_) => 0,
            Self::Native(session) => session.stdin_credit() as u64,
        }
    }

    /// Whether the end of stdin may be told now.
    pub(super) fn takes_stdin_end(&self) -> bool {
        !matches!(self, Self::Opening(_))
    }

    /// The bytes that carry `data`, at most [`stdin_room`](Self::stdin_room) of it, in two pieces.
    pub(super) fn send_stdin(&mut self, data: Bytes) -> Result<[Bytes; 2], ProtocolError> {
        match self {
            Self::Classic { session, .. } => Ok([Bytes::new(), session.send_stdin(data)?]),
            Self::Opening(opening) => opening.native.send_stdin(data),
            Self::Native(session) => session.send_stdin(data),
        }
    }

    pub(super) fn end_stdin(&mut self) -> Result<StdinEnd, ProtocolError> {
        match self {
            Self::Classic {
                is_endless: true, ..
            } => Ok(StdinEnd::HalfClose),
            Self::Classic { .. } => Ok(StdinEnd::Counted),
            Self::Opening(opening) => opening.native.send_stdin_end().map(StdinEnd::Frame),
            Self::Native(session) => session.send_stdin_end().map(StdinEnd::Frame),
        }
    }

    /// The bytes that send a signal.
    pub(super) fn send_signal(&mut self, number: u8, to: SignalTo) -> Result<Bytes, Error> {
        self.native("signal")?
            .send_signal(number, to)
            .map_err(Error::Request)
    }

    /// The bytes that end the run with its whole tree.
    pub(super) fn send_cancel(&mut self) -> Result<Bytes, Error> {
        self.native("cancel")?.send_cancel().map_err(Error::Request)
    }

    pub(super) fn receive_data(&mut self, data: &[u8]) {
        match self {
            Self::Classic { session, .. } => session.receive_data(data),
            Self::Opening(opening) => opening.answer.receive_data(data),
            Self::Native(session) => session.receive_data(data),
        }
    }

    pub(super) fn receive_eof(&mut self) {
        match self {
            Self::Classic { session, .. } => session.receive_eof(),
            Self::Opening(opening) => opening.answer.receive_eof(),
            Self::Native(session) => session.receive_eof(),
        }
    }

    pub(super) fn receive_payload(&mut self, len: u64) -> Result<(), ProtocolError> {
        match self {
            Self::Classic { session, .. } => session.receive_payload(len),
            Self::Opening(opening) => opening.native.receive_payload(len),
            Self::Native(session) => session.receive_payload(len),
        }
    }

    /// What the server has answered to the opening, if that is just known.
    pub(super) fn answer(&mut self) -> Result<Option<Answer>, ProtocolError> {
        match self {
            Self::Opening(opening) => opening.answer.answer(),
            Self::Classic { .. } | Self::Native(_) => Ok(None),
        }
    }

    /// Goes on in the native protocol with what came behind the greeting, and returns the request if it
    /// was held back.
    pub(super) fn become_native(&mut self, rest: &[u8]) -> Option<Bytes> {
        let Self::Opening(opening) = self else {
            return None;
        };
        let mut native = std::mem::take(&mut opening.native);
        native.receive_data(rest);
        let request = opening.request.take();
        *self = Self::Native(Box::new(native));
        request
    }

    /// Whether the request is held back until the server has answered.
    pub(super) fn holds_request_back(&self) -> bool {
        matches!(self, Self::Opening(opening) if opening.request.is_some())
    }

    pub(super) fn next_event(&mut self) -> Result<Option<ClientEvent>, ProtocolError> {
        match self {
            Self::Classic { session, .. } => session.next_event(),
            Self::Opening(_) => Ok(None),
            Self::Native(session) => session.next_event(),
        }
    }

    pub(super) fn payload(&self) -> Option<(Stream, u64)> {
        match self {
            Self::Classic { session, .. } => session.payload(),
            Self::Opening(_) => None,
            Self::Native(session) => session.payload(),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::Classic { session, .. } => session.is_over(),
            Self::Opening(_) => false,
            Self::Native(session) => session.is_over(),
        }
    }

    fn native(&mut self, field: &'static str) -> Result<&mut native::ClientSession, Error> {
        match self {
            Self::Native(session) => Ok(session),
            Self::Opening(opening) => Ok(&mut opening.native),
            Self::Classic { .. } => Err(Error::classic_cannot(field)),
        }
    }
}
