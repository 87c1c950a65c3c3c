//! Who this process is: a helper that was started as another user must not be used any more.

use rustix::fs::stat;
use rustix::process::{Gid, Uid, getegid, geteuid, getgid, getgroups, getuid};

use super::file_id::FileId;

/// User, groups and root directory. A privilege that this process has dropped would come back with a
/// helper that still has it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Identity {
    users: (Uid, Uid),
    groups: (Gid, Gid),
    /// `None` where the kernel does not tell them.
    supplementary: Option<Vec<Gid>>,
    root: Option<FileId>,
}

impl Identity {
    pub(super) fn now() -> Self {
        Self {
            users: (getuid(), geteuid()),
            groups: (getgid(), getegid()),
            supplementary: getgroups().ok(),
            root: stat("/").ok().map(|root| FileId::of(&root)),
        }
    }

    /// Whether the effective user and group are the real ones. A shell takes the real ones otherwise,
    /// unless it is told not to.
    pub(super) fn is_plain(&self) -> bool {
        self.users.0 == self.users.1 && self.groups.0 == self.groups.1
    }
}
