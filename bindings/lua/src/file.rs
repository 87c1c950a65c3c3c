//! Files that are to be stdin.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use mlua::Lua;
use rustix::io::Errno;

use crate::args::Args;
use crate::error::Failure;

/// `file_len(path)`: the bytes of a regular file. Opening anything else might wait for ever.
pub(crate) fn len(_: &Lua, args: &mut Args) -> Result<i64, Failure> {
    let path = args.string()?;
    let path = path.as_bytes();
    let metadata = fs::metadata(OsStr::from_bytes(&path)).map_err(|error| {
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::INVAL);
        Failure::system("stdin", errno)
    })?;
    if !metadata.is_file() {
        return Err(Failure::new("stdin", "not a regular file"));
    }
    // Lua has no unsigned numbers.
    Ok(i64::try_from(metadata.len()).unwrap_or(i64::MAX))
}
