//! A bound socket: made, taken over and removed without stepping on anybody else's.

pub(crate) mod name_lock;
mod stale_socket;

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread;

use nix::sched::{CloneFlags, unshare};
use rustix::fs::{self, AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::{geteuid, umask};

use super::accepted::Transport;
use crate::{Address, AddressKind};
use name_lock::NameLock;
use stale_socket::make_way;

/// As many connections as the kernel lets wait; it cuts this to `net.core.somaxconn`.
pub(super) const BACKLOG: i32 = 4096;

/// Who may connect to a unix socket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SocketOptions {
    /// The exact permission bits; without them 0777 less the umask.
    pub mode: Option<u32>,
    /// The owner's user id.
    pub user: Option<u32>,
    /// The owner's group id.
    pub group: Option<u32>,
}

/// A socket that is bound, listening and non-blocking. Dropped, it removes its file, if that is
/// still its own.
#[derive(Debug)]
pub struct Listener {
    /// Dropped before the socket, whose inode is then still its own.
    file: Option<SocketFile>,
    fd: OwnedFd,
    address: Address,
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {reason}")]
pub struct BindError {
    /// The address.
    pub address: Address,
    reason: String,
    errno: Errno,
}

impl BindError {
    /// The error's number, the exit code of the classic daemon: 17 for a path in use, 98 for a port.
    #[must_use]
    pub fn errno(&self) -> i32 {
        self.errno.raw_os_error()
    }
}

/// What went wrong, and what to say if the errno's own text would not do.
type BindFailure = (Errno, Option<String>);

impl Listener {
    /// Binds and listens. A socket file without a listener is taken over.
    ///
    /// May wait up to 5 s for another server of the same user that starts or ends at the same path.
    ///
    /// # Errors
    /// [`BindError`], which names the address; whatever stood there is untouched.
    pub fn bind(address: &Address, options: &SocketOptions) -> Result<Self, BindError> {
        let bound = match address.kind() {
            AddressKind::Unix(path) => bind_unix(path, options).map(|(fd, file)| (fd, Some(file))),
            AddressKind::Tcp(tcp) => bind_tcp(tcp)
                .map(|fd| (fd, None))
                .map_err(|errno| (errno, None)),
        };
        let (fd, file) = bound.map_err(|(errno, text)| BindError {
            address: address.clone(),
            reason: text.unwrap_or_else(|| io::Error::from(errno).to_string()),
            errno,
        })?;
        Ok(Self {
            fd,
            address: address.clone(),
            file,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The listening socket, and what removes its name when dropped.
    pub(crate) fn into_parts(self) -> (OwnedFd, Option<SocketFile>) {
        (self.fd, self.file)
    }

    pub(crate) fn transport(&self) -> Transport {
        match self.address.kind() {
            AddressKind::Unix(_) => Transport::Unix,
            AddressKind::Tcp(_) => Transport::Tcp,
        }
    }
}

/// A socket's name in the file system.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Device and inode, to tell our file from a successor's.
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Without the lock a successor might bind between the look and the unlink.
        let _lock = NameLock::of(&self.path);
        if identity(&self.path) == Ok(self.identity) {
            let _ = fs::unlink(&self.path);
        }
    }
}

fn bind_tcp(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let fd = new_socket(AddressFamily::INET)?;
    net::sockopt::set_socket_reuseaddr(&fd, true)?;
    net::bind(&fd, &address)?;
    net::listen(&fd, BACKLOG)?;
    Ok(fd)
}

fn bind_unix(path: &Path, options: &SocketOptions) -> Result<(OwnedFd, SocketFile), BindFailure> {
    let plain = |errno| (errno, None);
    let _lock = NameLock::of(path).map_err(|error| (error.errno, Some(error.to_string())))?;
    make_way(path)?;
    let fd = new_socket(AddressFamily::UNIX).map_err(plain)?;
    let name = SocketAddrUnix::new(path).map_err(plain)?;
    bind_with_mode(&fd, &name, options.mode).map_err(plain)?;
    match open_to_clients(&fd, path, options) {
        Ok(file) => Ok((fd, file)),
        Err(failure) => {
            // Still under the lock, so it is ours.
            let _ = fs::unlink(path);
            Err(failure)
        }
    }
}

/// Binds; the file has exactly these permission bits from its first moment on. Changing them later could
/// change a file that someone has put in its place.
fn bind_with_mode(fd: &OwnedFd, name: &SocketAddrUnix, mode: Option<u32>) -> Result<(), Errno> {
    let Some(mode) = mode else {
        return net::bind(fd, name);
    };
    // On Linux the file gets the socket's own bits, less the umask.
    fs::fchmod(fd, Mode::from_raw_mode(mode))?;
    let bind = || {
        let umask = umask(Mode::from_raw_mode(!mode & 0o777));
        let bound = net::bind(fd, name);
        (umask, bound)
    };
    let in_own_thread = || match unshare(CloneFlags::CLONE_FS) {
        Ok(()) => Some(bind().1),
        Err(_) => None,
    };
    // The umask of a thread that shares it with no other; some containers allow none.
    let bound = thread::scope(|scope| scope.spawn(in_own_thread).join());
    bound.ok().flatten().unwrap_or_else(|| {
        let (before, bound) = bind();
        umask(before);
        bound
    })
}

/// Gives a bound socket its owner, then listens.
fn open_to_clients(
    fd: &OwnedFd,
    path: &Path,
    options: &SocketOptions,
) -> Result<SocketFile, BindFailure> {
    let plain = |errno| (errno, None);
    if options.user.is_some() || options.group.is_some() {
        let told = |errno| {
            let reason = io::Error::from(errno);
            (errno, Some(format!("cannot change its owner: {reason}")))
        };
        change_owner(path, options).map_err(told)?;
    }
    net::listen(fd, BACKLOG).map_err(plain)?;
    Ok(SocketFile {
        path: path.to_owned(),
        identity: identity(path).map_err(plain)?,
    })
}

/// Changes the owner of what was looked at, and only of a socket that is ours: who can write to the
/// directory may have put another file there.
fn change_owner(path: &Path, options: &SocketOptions) -> Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = fs::open(path, flags, Mode::empty())?;
    let stat = fs::fstat(&file)?;
    let is_socket = FileType::from_raw_mode(stat.st_mode) == FileType::Socket;
    if !is_socket || stat.st_uid != geteuid().as_raw() {
        return Err(Errno::PERM);
    }
    let (user, group) = (
        options.user.map(Uid::from_raw),
        options.group.map(Gid::from_raw),
    );
    fs::chownat(&file, "", user, group, AtFlags::EMPTY_PATH)
}

fn new_socket(family: AddressFamily) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    net::socket_with(family, SocketType::STREAM, flags, None)
}

fn identity(path: &Path) -> Result<(u64, u64), Errno> {
    fs::lstat(path).map(|stat| (stat.st_dev, stat.st_ino))
}
