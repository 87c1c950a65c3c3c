//! What is to be run, and by which protocol: the decisions of `auto`.

use std::io;

use bytes::Bytes;

use super::destination::Destination;
use super::known::{Known, recall, remember};
use super::link::Link;
use super::protocol::Protocol;
use super::session::Session;
use crate::proto::opening::Answer;
use crate::proto::{ExitStatus, ProtocolError, Refusal, RefusalKind, Request, StreamMode};
use crate::{Address, Error, Stdin, Token, embedded};

#[derive(Debug)]
pub(crate) struct Plan {
    pub(super) request: Request,
    protocol: Protocol,
}

/// What the server's answer to the opening leads to.
#[derive(Debug)]
pub(super) enum Next {
    /// The native protocol on this connection; this came behind the greeting.
    Native { rest: Bytes },
    /// Another connection.
    Again { session: Session, head: Bytes },
}

impl Plan {
    pub(crate) fn new(request: Request, protocol: Protocol) -> Self {
        Self { request, protocol }
    }

    /// Has the request say what stdin there is.
    pub(super) fn announce(&mut self, stdin: &Stdin) {
        if stdin.is_streamed() {
            self.request.stdin = StreamMode::Piped;
            self.request.stdin_len = None;
        } else if !stdin.is_empty() {
            self.request.stdin = StreamMode::Piped;
            self.request.stdin_len = Some(stdin.len());
        } else if self.request.stdin == StreamMode::Piped {
            self.request.stdin_len = Some(0);
        }
    }

    /// The first connection, its session, and what is sent first, or behind the opening.
    pub(super) fn begin(
        &mut self,
        destination: &Destination,
    ) -> Result<(Link, Session, Bytes), Error> {
        match destination {
            Destination::Address(address) => {
                self.show_token(address)?;
                let (session, head) = self.open(Some(address))?;
                Ok((Link::open(address.clone())?, session, head))
            }
            Destination::Embedded => {
                let (helper, opened) = match self.protocol {
                    // It cannot say where the command runs: the helper must have been started there.
                    Protocol::Classic => {
                        (embedded::helper_of_now()?, Session::classic(&self.request))
                    }
                    // It is a server of ours: no one needs to ask what it speaks.
                    Protocol::Auto | Protocol::Native => {
                        let helper = embedded::helper()?;
                        let request = helper.complete(&self.request);
                        (helper, Session::opening(&request, false))
                    }
                };
                let (session, head) = opened.map_err(Error::of_request)?;
                Ok((Link::to_helper(helper)?, session, head))
            }
        }
    }

    /// Shows the token of the environment to the server that is named there.
    fn show_token(&mut self, address: &Address) -> Result<(), Error> {
        if self.request.token.is_none() {
            self.request.token = Token::from_env(address)?.map(Bytes::from);
        }
        Ok(())
    }

    /// The session of the first connection to `address`, and what is sent first, or behind the opening.
    /// `None` stands for a connection that is there already.
    pub(super) fn open(&self, address: Option<&Address>) -> Result<(Session, Bytes), Error> {
        let request = &self.request;
        self.check_descriptors(address)?;
        // Descriptors are sent only once the server has said that it speaks native.
        let passes_descriptors = request.descriptors() > 0;
        let opened = match (self.protocol, address.and_then(recall)) {
            (Protocol::Classic, _) => Session::classic(request),
            (Protocol::Native, _) | (Protocol::Auto, Some(Known::Native)) => {
                Session::opening(request, passes_descriptors)
            }
            (Protocol::Auto, None) => Session::opening(request, true),
            (Protocol::Auto, Some(Known::Classic)) => match Session::classic(request) {
                // The server may be another one by now.
                Err(ProtocolError::Unsupported { .. }) => Session::opening(request, true),
                opened => opened,
            },
        };
        opened.map_err(Error::of_request)
    }

    /// What to do now that the server behind `link` has answered.
    pub(super) fn next(
        &self,
        link: &Link,
        session: &Session,
        answer: Answer,
    ) -> Result<Next, Error> {
        let keep = |known| link.address().map(|address| remember(address, known));
        match answer {
            Answer::Native { rest } => {
                keep(Some(Known::Native));
                Ok(Next::Native { rest })
            }
            Answer::ClassicFailure { status, message } => {
                keep(None);
                Err(refused(status, &message).into())
            }
            _ if self.protocol == Protocol::Native || link.address().is_none() => Err(no_native()),
            // It was remembered as native, and this proves that nothing has run.
            _ if !session.holds_request_back() => {
                keep(None);
                self.again(Session::opening(&self.request, true))
            }
            _ => {
                keep(Some(Known::Classic));
                self.again(Session::classic(&self.request))
            }
        }
    }

    /// The error of a server that answers an opening with something else. No request was sent.
    pub(super) fn stranger(&self, link: &Link, error: ProtocolError) -> Error {
        match link.address() {
            Some(address) => Error::Connect {
                address: address.clone(),
                source: io::Error::other(error),
            },
            None => Error::Protocol(error),
        }
    }

    /// Descriptors can be handed over on unix sockets only.
    fn check_descriptors(&self, address: Option<&Address>) -> Result<(), Error> {
        let Request {
            stdin,
            stdout,
            stderr,
            ..
        } = &self.request;
        let streams = [("stdin", stdin), ("stdout", stdout), ("stderr", stderr)];
        let passed = streams.into_iter();
        let passed = passed.filter(|(_, mode)| **mode == StreamMode::Descriptor);
        match passed.map(|(name, _)| name).next() {
            Some(field) if address.is_some_and(|address| address.path().is_none()) => {
                Err(Error::Unsupported {
                    field,
                    by: "a TCP connection, which takes no descriptors,",
                })
            }
            _ => Ok(()),
        }
    }

    fn again(&self, opened: Result<(Session, Bytes), ProtocolError>) -> Result<Next, Error> {
        let (session, head) = opened.map_err(Error::of_request)?;
        Ok(Next::Again { session, head })
    }
}

/// The server does not speak the protocol that it must.
pub(super) fn no_native() -> Error {
    Error::classic_cannot("native runs")
}

/// What a classic server says that cannot even run a comment, by the exit codes of sysexits.h.
fn refused(status: ExitStatus, message: &[u8]) -> Refusal {
    let kind = match status.code() {
        Some(64) => RefusalKind::BadRequest,
        Some(69) => RefusalKind::Policy,
        Some(71) => RefusalKind::CannotSpawn,
        Some(75) => RefusalKind::Busy,
        _ => RefusalKind::Other,
    };
    let message = String::from_utf8_lossy(message);
    let message = message.trim().trim_start_matches("sockproc: ");
    match message {
        "" => Refusal::new(kind, format_args!("it cannot run anything: {status}")),
        _ => Refusal::new(kind, message),
    }
}
