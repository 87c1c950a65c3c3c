//! One server at a time at a name: who starts waits for who ends.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{self, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::geteuid;

/// The longest wait for another server that starts or ends at the same name.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// A name in the file system, held against other servers of the same user until dropped.
///
/// The lock is a file beside it that its user alone can open, so that no one else can hold it. It is
/// there only while it is held.
#[derive(Debug)]
pub(crate) struct NameLock {
    /// `None` where there can be no such file, or a stranger has put something in its place.
    _held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    _fd: OwnedFd,
    path: PathBuf,
}

/// A lock that another process holds for too long, or a directory that is none.
#[derive(Debug)]
pub(crate) struct LockError {
    pub(crate) errno: Errno,
    path: PathBuf,
}

impl NameLock {
    /// Locks the name `path`; waits at most [`LOCK_TIMEOUT`].
    pub(crate) fn of(path: &Path) -> Result<Self, LockError> {
        let mut name = OsString::from(path);
        name.push(".lock");
        let path = PathBuf::from(name);
        let begin = Instant::now();
        loop {
            match try_lock(&path) {
                Ok(Some(fd)) => {
                    let held = Some(Held { _fd: fd, path });
                    return Ok(Self { _held: held });
                }
                Err(Errno::WOULDBLOCK) if begin.elapsed() < LOCK_TIMEOUT => {
                    thread::sleep(Duration::from_millis(5));
                }
                // Its last holder has just removed it.
                Ok(None) => {}
                Err(errno @ (Errno::WOULDBLOCK | Errno::NOENT | Errno::NOTDIR)) => {
                    return Err(LockError { errno, path });
                }
                Err(errno) => {
                    tracing::debug!(path = %path.display(), %errno, "cannot be locked");
                    return Ok(Self { _held: None });
                }
            }
        }
    }
}

impl Drop for Held {
    /// Whoever waits for it finds that the file has gone, and makes another.
    fn drop(&mut self) {
        let _ = fs::unlink(&self.path);
    }
}

/// The locked file; `None` if it is no longer what `path` names.
fn try_lock(path: &Path) -> Result<Option<OwnedFd>, Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let fd = fs::open(path, flags | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)?;
    let stat = fs::fstat(&fd)?;
    let is_regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    if !is_regular || stat.st_uid != geteuid().as_raw() || stat.st_mode & 0o077 != 0 {
        // A stranger's, who could hold it for ever.
        return Err(Errno::PERM);
    }
    fs::flock(&fd, FlockOperation::NonBlockingLockExclusive)?;
    match fs::lstat(path) {
        Ok(now) if (now.st_dev, now.st_ino) == (stat.st_dev, stat.st_ino) => Ok(Some(fd)),
        _ => Ok(None),
    }
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.errno {
            Errno::WOULDBLOCK => write!(f, "{path} stays locked by another process"),
            errno => write!(f, "{}", io::Error::from(errno)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_holds_a_name_and_nothing_is_left_of_that() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sock");
        let lock = NameLock::of(&path).unwrap();
        let file = dir.path().join("sock.lock");
        assert_eq!(try_lock(&file).err(), Some(Errno::WOULDBLOCK));
        let other = std::thread::spawn(move || NameLock::of(&path).is_ok());
        drop(lock);
        assert!(other.join().unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_others_could_open_is_no_lock() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let dir = tempfile::tempdir().unwrap();
        let (path, file) = (dir.path().join("sock"), dir.path().join("sock.lock"));
        std::fs::write(&file, "theirs").unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o666)).unwrap();
        assert!(NameLock::of(&path).unwrap()._held.is_none());
        assert_eq!(std::fs::read(&file).unwrap(), b"theirs");
        std::fs::remove_file(&file).unwrap();
        symlink("elsewhere", &file).unwrap();
        assert!(NameLock::of(&path).unwrap()._held.is_none());
        assert!(!dir.path().join("elsewhere").exists());
    }

    #[test]
    fn a_directory_that_is_not_there_is_told() {
        let error = NameLock::of(Path::new("/nonexistent/sock")).unwrap_err();
        assert_eq!(error.errno, Errno::NOENT);
    }
}
