//! How long a run may go on and how much it may write, and what becomes of it otherwise.

use std::time::Duration;

use super::Command;
use crate::proto::{Millis, OnDisconnect};

impl<D> Command<D> {
    /// Ends the run when it has taken `timeout`; without it a run may take for ever. The error has what
    /// the command had written: [`Error::Timeout`](crate::Error::Timeout).
    ///
    /// A native server counts from the start of the command, and ends it with its whole tree. Until then
    /// this client counts, connecting included. On the classic protocol the client gives up, and the
    /// server's options say what becomes of the command.
    pub fn timeout(&mut self, timeout: Duration) -> &mut Self {
        self.timeout = Some(timeout);
        self.settings.limits.timeout = Some(millis(timeout));
        self
    }

    /// Ends the run when it has written nothing for `timeout`. Only where its output comes by the
    /// server.
    pub fn idle_timeout(&mut self, timeout: Duration) -> &mut Self {
        self.settings.limits.idle_timeout = Some(millis(timeout));
        self
    }

    /// Waits for a free place on a busy server for `timeout` at most; the refusal is of kind
    /// [`QueueTimeout`](crate::proto::RefusalKind::QueueTimeout).
    pub fn queue_timeout(&mut self, timeout: Duration) -> &mut Self {
        self.settings.limits.queue_timeout = Some(millis(timeout));
        self
    }

    /// Lets the run's processes have so long between SIGTERM and SIGKILL when it is ended; 2 s without
    /// it.
    pub fn grace(&mut self, grace: Duration) -> &mut Self {
        self.settings.limits.grace = Some(millis(grace));
        self
    }

    /// Reads what others still write when the command has exited for `linger` at most; 1 s without it,
    /// and never past 100 ms of silence.
    pub fn linger(&mut self, linger: Duration) -> &mut Self {
        self.settings.limits.linger = Some(millis(linger));
        self
    }

    /// Takes at most `limit` bytes of output, both streams together; without it there is no limit. A
    /// native server ends a run that writes more.
    pub fn max_output(&mut self, limit: u64) -> &mut Self {
        self.settings.limits.max_output = Some(limit);
        self
    }

    /// What becomes of the command when this client goes; without it, it is ended with its whole tree.
    pub fn on_disconnect(&mut self, what: OnDisconnect) -> &mut Self {
        self.settings.on_disconnect = Some(what);
        self
    }

    /// The command's file mode creation mask, umask(2); the server's without it.
    pub fn umask(&mut self, mask: u32) -> &mut Self {
        self.settings.umask = Some(mask);
        self
    }

    /// Makes the command the leader of a session of its own, without a controlling terminal: setsid(2).
    pub fn setsid(&mut self, setsid: bool) -> &mut Self {
        self.settings.session = setsid;
        self
    }

    /// Runs the command as this user; a server that may not change it refuses.
    pub fn uid(&mut self, uid: u32) -> &mut Self {
        self.settings.identity.user = Some(uid);
        self
    }

    /// Runs the command as this group; a server that may not change it refuses.
    pub fn gid(&mut self, gid: u32) -> &mut Self {
        self.settings.identity.group = Some(gid);
        self
    }
}

/// A duration as the protocol carries it: at least 1 ms.
pub(super) fn millis(duration: Duration) -> Millis {
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Millis::at_least_one(ms)
}
