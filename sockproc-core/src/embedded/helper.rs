//! One helper process, as its owner sees it.

use std::ffi::OsString;
use std::io;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use super::control::Control;
use super::identity::Identity;
use super::inherited::Inherited;
use super::{program, start};
use crate::Error;
use crate::proto::Request;

/// A helper that was started. Dropped, it ends when its last run has.
#[derive(Debug)]
pub(crate) struct Helper {
    control: Control,
    /// This process, as it was when the helper was started.
    identity: Identity,
    inherited: Inherited,
    program: OsString,
}

/// What came of handing a connection over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handed {
    Over,
    /// The control socket is full: ask again.
    Full,
    /// The helper has died.
    Gone,
}

impl Helper {
    pub(super) fn start() -> Result<Self, Error> {
        let words = program::find()?;
        let program = words.first().cloned().unwrap_or_default();
        let inherited = Inherited::now();
        let identity = Identity::now();
        match start::start(&words, &inherited, &identity) {
            Ok(control) => Ok(Self {
                control,
                identity,
                inherited,
                program,
            }),
            Err(source) => Err(Error::Helper { program, source }),
        }
    }

    /// One that has said why it cannot serve, and ended.
    #[cfg(all(test, target_os = "linux"))]
    pub(crate) fn dead(reason: &str) -> Self {
        let (control, its) = Control::new().expect("a socket pair");
        rustix::net::send(&its, reason.as_bytes(), rustix::net::SendFlags::empty())
            .expect("room for it");
        Self {
            control,
            identity: Identity::now(),
            inherited: Inherited::now(),
            program: "sockproc".into(),
        }
    }

    /// Whether it runs commands as this process would, as far as that can be told.
    pub(super) fn is_ours(&self) -> bool {
        self.control.is_open() && self.identity == Identity::now()
    }

    /// Whether working directory and environment are what they were at the start.
    pub(super) fn is_of_now(&self) -> bool {
        self.inherited.is_of_now()
    }

    /// The request as the helper is to be asked: with the working directory and the environment of this
    /// process, where the helper's are others.
    pub(crate) fn complete(&self, request: &Request) -> Request {
        let mut request = request.clone();
        self.inherited.complete(&mut request);
        request
    }

    /// Hands over one end of a connection.
    pub(crate) fn hand_over(&self, connection: BorrowedFd<'_>) -> io::Result<Handed> {
        match self.control.hand_over(connection) {
            Ok(()) => Ok(Handed::Over),
            Err(error) => match Errno::from_io_error(&error) {
                // The last one: more descriptors are on their way than this process may have open.
                Some(Errno::AGAIN | Errno::NOBUFS | Errno::TOOMANYREFS) => Ok(Handed::Full),
                Some(Errno::PIPE | Errno::CONNRESET) => Ok(Handed::Gone),
                _ if error.kind() == io::ErrorKind::BrokenPipe => Ok(Handed::Gone),
                _ => Err(error),
            },
        }
    }

    /// Why it could not serve, if it has said so.
    pub(crate) fn reason(&self) -> Option<Error> {
        let reason = self.control.reason()?;
        Some(self.failed(io::Error::other(reason)))
    }

    /// The error of a helper that cannot be used.
    pub(crate) fn failed(&self, source: io::Error) -> Error {
        let program = self.program.clone();
        Error::Helper { program, source }
    }
}
