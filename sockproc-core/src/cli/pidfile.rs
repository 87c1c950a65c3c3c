//! The file that names the server's process.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process;

use rustix::fs::OFlags;

use crate::server::listener::name_lock::NameLock;

/// A pidfile of this process; dropped, it is removed unless somebody else has written it since.
pub(super) struct Pidfile {
    /// `None` if it could not be written.
    path: Option<PathBuf>,
}

impl Pidfile {
    /// Writes digits without a newline, mode by umask. Like the C daemon, a server runs on when its
    /// pidfile cannot be written; it only says so in the log.
    pub(super) fn write(path: &Path) -> Self {
        let _lock = NameLock::of(path);
        let written = write(path);
        if let Err(error) = &written {
            tracing::warn!(path = %path.display(), %error, "cannot write the pidfile");
        }
        let path = written.is_ok().then(|| path.to_owned());
        Self { path }
    }
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        let Some(path) = &self.path else {
            return;
        };
        // Without the lock a successor might write between the look and the removal.
        let _lock = NameLock::of(path);
        if open(path, OpenOptions::new().read(true))
            .and_then(io::read_to_string)
            .is_ok_and(|text| text == process::id().to_string())
        {
            let _ = fs::remove_file(path);
        }
    }
}

fn write(path: &Path) -> io::Result<()> {
    let mut file = open(path, OpenOptions::new().write(true).create(true))?;
    file.set_len(0)?;
    file.write_all(process::id().to_string().as_bytes())
}

/// Opens a regular file; what waits for a reader or a writer, as a FIFO does, is refused.
fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = options.custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("not a regular file"))
    }
}
