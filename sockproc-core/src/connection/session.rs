//! The protocols a connection can speak, behind one set of methods.

use bytes::Bytes;

use crate::proto::Stream;
use crate::proto::{ClientEvent, ProtocolError, Request, StreamMode, classic};

#[derive(Debug)]
pub(super) enum Session {
    Classic {
        session: classic::ClientSession,
        /// Whether the server learns of the end of stdin by a half-close.
        is_endless: bool,
    },
}

/// How the server learns that stdin is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StdinEnd {
    /// It counts.
    Counted,
    /// Nothing more is sent on this connection.
    HalfClose,
}

impl Session {
    /// A session that asks for `request`, and the bytes that do so.
    pub(super) fn classic(request: &Request) -> Result<(Self, Bytes), ProtocolError> {
        let mut session = classic::ClientSession::new();
        let head = session.send_run(request)?;
        let is_endless = request.stdin != StreamMode::Null && request.stdin_len.is_none();
        let session = Self::Classic {
            session,
            is_endless,
        };
        Ok((session, head))
    }

    /// How much stdin may be sent now.
    pub(super) fn stdin_room(&self) -> u64 {
        match self {
            Self::Classic { .. } => u64::MAX,
        }
    }

    pub(super) fn send_stdin(&mut self, data: Bytes) -> Result<Bytes, ProtocolError> {
        match self {
            Self::Classic { session, .. } => session.send_stdin(data),
        }
    }

    pub(super) fn end_stdin(&mut self) -> Result<StdinEnd, ProtocolError> {
        match self {
            Self::Classic { is_endless, .. } => Ok(match is_endless {
                true => StdinEnd::HalfClose,
                false => StdinEnd::Counted,
            }),
        }
    }

    pub(super) fn receive_data(&mut self, data: &[u8]) {
        match self {
            Self::Classic { session, .. } => session.receive_data(data),
        }
    }

    pub(super) fn receive_eof(&mut self) {
        match self {
            Self::Classic { session, .. } => session.receive_eof(),
        }
    }

    pub(super) fn receive_payload(&mut self, len: u64) -> Result<(), ProtocolError> {
        match self {
            Self::Classic { session, .. } => session.receive_payload(len),
        }
    }

    pub(super) fn next_event(&mut self) -> Result<Option<ClientEvent>, ProtocolError> {
        match self {
            Self::Classic { session, .. } => session.next_event(),
        }
    }

    pub(super) fn payload(&self) -> Option<(Stream, u64)> {
        match self {
            Self::Classic { session, .. } => session.payload(),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::Classic { session, .. } => session.is_over(),
        }
    }
}
