//! The three pipes of a command: our ends and the command's.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::pipe::{PipeFlags, pipe_with};
use tokio::io::Interest;

use super::Pipe;
use super::process_table::ChildEnd;
use crate::reactor::watch;

/// Our ends, in the reactor already: nothing of them can fail once the command runs.
pub(super) struct OurEnds {
    pub(super) stdin: Pipe,
    pub(super) stdout: Pipe,
    pub(super) stderr: Pipe,
}

/// The command's stdin, stdout and stderr; open here until it has been started.
pub(super) struct TheirEnds(pub(super) [OwnedFd; 3]);

/// Makes the pipes.
pub(super) fn make() -> io::Result<(OurEnds, TheirEnds)> {
    let (child_stdin, stdin) = pipe()?;
    let (stdout, child_stdout) = pipe()?;
    let (stderr, child_stderr) = pipe()?;
    let ours = OurEnds {
        stdin: ours(stdin, Interest::WRITABLE)?,
        stdout: ours(stdout, Interest::READABLE)?,
        stderr: ours(stderr, Interest::READABLE)?,
    };
    Ok((ours, TheirEnds([child_stdin, child_stdout, child_stderr])))
}

impl TheirEnds {
    /// What tells who holds them.
    pub(super) fn marks(&self) -> io::Result<Vec<ChildEnd>> {
        let ends = (0..).zip(&self.0);
        ends.map(|(number, fd)| {
            Ok(ChildEnd {
                inode: rustix::fs::fstat(fd)?.st_ino,
                is_for_writing: number > 0,
            })
        })
        .collect()
    }
}

fn ours(fd: OwnedFd, interest: Interest) -> io::Result<Pipe> {
    rustix::io::ioctl_fionbio(&fd, true)?;
    watch(fd, interest)
}

/// A pipe (read end, write end) outside 0–2, which the child is about to overwrite.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    Ok((above_stdio(read)?, above_stdio(write)?))
}

fn above_stdio(fd: OwnedFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() > 2 {
        Ok(fd)
    } else {
        Ok(rustix::io::fcntl_dupfd_cloexec(&fd, 3)?)
    }
}
