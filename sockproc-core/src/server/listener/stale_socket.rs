//! A socket file that a server has left behind when it was killed: the next one takes its place.

use std::path::Path;

use rustix::fs::{self, FileType};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketAddrUnix};

use super::{BindFailure, new_socket};

/// Removes a socket that no one listens on; refuses to touch anything else.
pub(super) fn make_way(path: &Path) -> Result<(), BindFailure> {
    let in_use = |what: &str| Err((Errno::EXIST, Some(what.to_owned())));
    let file_type = match fs::lstat(path) {
        Ok(stat) => FileType::from_raw_mode(stat.st_mode),
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err((errno, None)),
    };
    if file_type != FileType::Socket {
        return in_use("a file that is no socket is there");
    }
    let probe = new_socket(AddressFamily::UNIX).map_err(|errno| (errno, None))?;
    let name = SocketAddrUnix::new(path).map_err(|errno| (errno, None))?;
    match net::connect(&probe, &name) {
        Err(Errno::CONNREFUSED) => fs::unlink(path).map_err(|errno| (errno, None)),
        Err(Errno::NOENT) => Ok(()),
        _ => in_use("a server listens there already"),
    }
}
