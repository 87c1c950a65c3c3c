//! Runs on the private helper, which may have died.

use std::io;

use super::{Connection, Destination, Progress, Receiver, Session};
use crate::{Error, embedded};

impl<R: Receiver> Connection<R> {
    /// Whether `error` is the end of a helper that has not read the whole request: nothing was run.
    ///
    /// Before the first answer only the request is sent. A socket of a pair that is closed with bytes
    /// unread resets the other (unix(7)), as does one that was never taken out of the control socket. One
    /// that has read them all ends in peace: then the command may have run.
    pub(super) fn is_unserved(&self, error: &Error) -> bool {
        let Error::Disconnected { source, .. } = error else {
            return false;
        };
        let is_cut = matches!(
            source.kind(),
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
        );
        let is_unread = is_cut && matches!(self.session, Session::Opening(_));
        self.link.helper().is_some() && (is_unread || !self.link.is_connected())
    }

    /// Has another helper be asked, unless that is of no use.
    pub(super) fn leave_helper(&mut self, error: Error) -> Result<Progress<R::Outcome>, Error> {
        let Some(helper) = self.link.helper() else {
            return Err(error);
        };
        embedded::forget(helper);
        if let Some(reason) = helper.reason() {
            return Err(reason);
        }
        if self.is_second_attempt {
            return Err(helper.failed(io::Error::other("it has ended before it served")));
        }
        self.is_second_attempt = true;
        self.wants_reconnect = true;
        Ok(Progress::Reconnect)
    }

    /// Begins anew. The request may say more or less than before: each helper has its own working
    /// directory and environment.
    pub(super) fn begin_on_another_helper(&mut self) -> Result<(), Error> {
        let (link, session, head) = self.plan.begin(&Destination::Embedded)?;
        self.link = link;
        self.session = session;
        self.outgoing.restart();
        self.push_head(head);
        Ok(())
    }
}
