//! Runs on the private helper, which may have died.

use super::{Connection, Destination, Progress, Receiver};
use crate::{Error, embedded};

impl<R: Receiver> Connection<R> {
    /// Whether `error` is the end of a helper that has not served this connection: nothing was run. A
    /// helper says when it begins to serve; what was handed to it before it died may have run from then on.
    pub(super) fn is_unserved(&self, error: &Error) -> bool {
        matches!(error, Error::Disconnected { .. })
            && self
                .link
                .helper()
                .is_some_and(|helper| !self.link.is_connected() || !helper.has_served())
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
            return Err(helper.failed(std::io::Error::other("it has ended before it served")));
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
