//! The protocols a connection can speak, behind one set of methods.

use bytes::Bytes;

use crate::proto::{ClientEvent, ProtocolError, Request, Stream, classic};

#[derive(Debug)]
pub(super) enum Session {
    Classic(classic::ClientSession),
}

impl Session {
    pub(super) fn send_run(&mut self, request: &Request) -> Result<Bytes, ProtocolError> {
        match self {
            Self::Classic(session) => session.send_run(request),
        }
    }

    pub(super) fn send_stdin(&mut self, data: Bytes) -> Result<Bytes, ProtocolError> {
        match self {
            Self::Classic(session) => session.send_stdin(data),
        }
    }

    pub(super) fn receive_data(&mut self, data: &[u8]) {
        match self {
            Self::Classic(session) => session.receive_data(data),
        }
    }

    pub(super) fn receive_eof(&mut self) {
        match self {
            Self::Classic(session) => session.receive_eof(),
        }
    }

    pub(super) fn receive_payload(&mut self, len: u64) -> Result<(), ProtocolError> {
        match self {
            Self::Classic(session) => session.receive_payload(len),
        }
    }

    pub(super) fn next_event(&mut self) -> Result<Option<ClientEvent>, ProtocolError> {
        match self {
            Self::Classic(session) => session.next_event(),
        }
    }

    pub(super) fn payload(&self) -> Option<(Stream, u64)> {
        match self {
            Self::Classic(session) => session.payload(),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::Classic(session) => session.is_over(),
        }
    }
}
