//! How a run begins: on which connection, by which protocol, with what.

use std::os::fd::OwnedFd;

use bytes::Bytes;

use super::link::Link;
use super::outgoing::Outgoing;
use super::session::Session;
use super::socket::Socket;
use super::{Connection, Destination, Plan, Protocol, Receiver};
use crate::proto::opening::OPENING;
use crate::proto::{Request, StreamMode};
use crate::{Error, Stdin};

impl<R: Receiver> Connection<R> {
    /// A run of `request`, such as a line for the shell, on the server at an address or on the helper, by
    /// the classic protocol.
    ///
    /// The kernel is asked for a connection by the first call of [`on_ready`](Self::on_ready), not
    /// before.
    ///
    /// # Errors
    /// [`Error::Request`] or [`Error::Unsupported`] if the protocol cannot carry `request`,
    /// [`Error::Connect`] if there can be no socket, [`Error::NoServer`] or [`Error::Helper`] if there can
    /// be no helper.
    pub fn new(
        destination: impl Into<Destination>,
        request: impl Into<Request>,
        stdin: impl Into<Stdin>,
    ) -> Result<Self, Error> {
        let plan = Plan::new(request.into(), Protocol::Classic);
        Self::begin(destination, plan, stdin.into(), Vec::new())
    }

    /// As [`new`](Self::new), by the protocol that is named.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_protocol(
        protocol: Protocol,
        destination: impl Into<Destination>,
        request: impl Into<Request>,
        stdin: impl Into<Stdin>,
    ) -> Result<Self, Error> {
        let plan = Plan::new(request.into(), protocol);
        Self::begin(destination, plan, stdin.into(), Vec::new())
    }

    /// As [`with_protocol`](Self::with_protocol), for a command that gets `descriptors` of ours: one for
    /// each standard stream of `request` that is a
    /// [`Descriptor`](crate::proto::StreamMode::Descriptor), then one for each of its
    /// [`fds`](Request::fds). They are closed here once the command has them or was refused.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_descriptors(
        protocol: Protocol,
        destination: impl Into<Destination>,
        request: Request,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Self, Error> {
        let plan = Plan::new(request, protocol);
        Self::begin(destination, plan, Stdin::empty(), descriptors)
    }

    /// A run that gets `descriptors` passed, those that `plan`'s request names.
    pub(crate) fn begin(
        destination: impl Into<Destination>,
        mut plan: Plan,
        stdin: Stdin,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Self, Error> {
        plan.announce(&stdin);
        let (link, session, head) = plan.begin(&destination.into())?;
        Ok(Self::start(link, plan, session, head, (stdin, descriptors)))
    }

    /// A run on the server at the other end of a connected socket, such as one of a pair, by the
    /// classic protocol.
    pub fn on_socket(socket: OwnedFd, request: Request, stdin: Stdin) -> Result<Self, Error> {
        let plan = Plan::new(request, Protocol::Classic);
        Self::begin_on(socket, plan, stdin, Vec::new())
    }

    /// As [`begin`](Self::begin), on the server at the other end of a connected socket.
    pub(crate) fn begin_on(
        socket: OwnedFd,
        mut plan: Plan,
        stdin: Stdin,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Self, Error> {
        plan.announce(&stdin);
        let (session, head) = plan.open(None)?;
        let link = Link::connected(Socket::from_connected(socket).map_err(Error::Wait)?);
        Ok(Self::start(link, plan, session, head, (stdin, descriptors)))
    }

    fn start(
        link: Link,
        plan: Plan,
        session: Session,
        head: Bytes,
        (stdin, descriptors): (Stdin, Vec<OwnedFd>),
    ) -> Self {
        let mut receiver = R::default();
        receiver.limit(&plan.request.limits);
        let has_stdin = plan.request.stdin == StreamMode::Piped;
        let outgoing = Outgoing::new(stdin, has_stdin, descriptors);
        let mut run = Self {
            link,
            session,
            outgoing,
            early: Vec::new(),
            receiver,
            plan: Box::new(plan),
            wants_reconnect: false,
            pid: None,
            owner: std::process::id(),
            is_second_attempt: false,
        };
        run.push_head(head);
        run
    }

    /// Has the beginning of the exchange be sent.
    pub(super) fn push_head(&mut self, head: Bytes) {
        let opening = Bytes::from_static(OPENING);
        match (&self.session, self.link.helper()) {
            // One message carries all of it, with the descriptors.
            (Session::Opening(_), Some(_)) => self.outgoing.push(opening),
            (Session::Opening(_), None) => self.outgoing.push_opening(opening),
            _ => {}
        }
        self.outgoing.push(head);
    }
}
