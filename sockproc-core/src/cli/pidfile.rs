//! The file that names the server's process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;

use crate::server::directory::DirectoryLock;

/// A pidfile of this process; dropped, it is removed unless somebody else has written it since.
pub(super) struct Pidfile(PathBuf);

impl Pidfile {
    /// Writes digits without a newline, mode by umask. Like the C daemon, a server runs on when its
    /// pidfile cannot be written; it only says so in the log.
    pub(super) fn write(path: &Path) -> Self {
        let _lock = DirectoryLock::around(path);
        if let Err(error) = fs::write(path, process::id().to_string()) {
            tracing::warn!(path = %path.display(), %error, "cannot write the pidfile");
        }
        Self(path.to_owned())
    }
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        // Without the lock a successor might write between the look and the removal.
        let _lock = DirectoryLock::around(&self.0);
        if fs::read_to_string(&self.0).is_ok_and(|text| text == process::id().to_string()) {
            let _ = fs::remove_file(&self.0);
        }
    }
}
