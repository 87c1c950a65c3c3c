//! What tells files apart, whatever their names are.

use rustix::fs::Stat;

/// Device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileId(u64, u64);

impl FileId {
    #[allow(clippy::unnecessary_cast, reason = "not on every system")]
    pub(super) fn of(stat: &Stat) -> Self {
        Self(stat.st_dev as u64, stat.st_ino as u64)
    }
}
