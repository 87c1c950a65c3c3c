//! Systems other than Linux, where there is no private helper. Untested.

use std::ffi::OsString;
use std::io;
use std::os::fd::BorrowedFd;

use super::identity::Identity;
use super::inherited::Inherited;

/// There is none.
#[derive(Debug)]
pub(super) enum Control {}

impl Control {
    pub(super) fn hand_over(&self, _connection: BorrowedFd<'_>) -> io::Result<()> {
        match *self {}
    }

    pub(super) fn reason(&self) -> Option<String> {
        match *self {}
    }

    pub(super) fn is_open(&self) -> bool {
        match *self {}
    }
}

pub(super) fn start(_: &[OsString], _: &Inherited, _: &Identity) -> io::Result<Control> {
    Err(io::ErrorKind::Unsupported.into())
}
