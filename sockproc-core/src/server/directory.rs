//! One server at a time in a directory: who starts waits for who ends.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::Errno;

/// The longest wait for another server that starts or ends in the same directory.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// A directory held against other servers until dropped.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    /// `None` where the file system or its permissions know no locks.
    _directory: Option<OwnedFd>,
}

/// A directory that cannot be locked.
#[derive(Debug)]
pub(crate) struct LockError {
    pub(crate) errno: Errno,
    directory: PathBuf,
}

impl DirectoryLock {
    /// Locks the directory in which `path` lies; waits at most [`LOCK_TIMEOUT`].
    pub(crate) fn around(path: &Path) -> Result<Self, LockError> {
        let directory = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let failed = |errno| LockError {
            errno,
            directory: directory.to_owned(),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = match open(directory, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::ACCESS) => return Ok(Self { _directory: None }),
            Err(errno) => return Err(failed(errno)),
        };
        let begin = Instant::now();
        loop {
            match flock(&fd, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {
                    return Ok(Self {
                        _directory: Some(fd),
                    });
                }
                Err(Errno::WOULDBLOCK) if begin.elapsed() < LOCK_TIMEOUT => {
                    thread::sleep(Duration::from_millis(5));
                }
                Err(Errno::WOULDBLOCK) => return Err(failed(Errno::WOULDBLOCK)),
                Err(Errno::INTR) => {}
                Err(_) => return Ok(Self { _directory: None }),
            }
        }
    }
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let directory = self.directory.display();
        match self.errno {
            Errno::WOULDBLOCK => write!(f, "directory {directory} stays locked by another process"),
            errno => write!(f, "directory {directory}: {}", io::Error::from(errno)),
        }
    }
}
