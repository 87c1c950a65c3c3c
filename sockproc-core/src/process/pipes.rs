//! The pipes of a command: our ends and the command's.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::pipe::{PipeFlags, pipe_with};
use tokio::io::Interest;

use super::Pipe;
use super::process_table::ChildEnd;
use crate::proto::StreamMode;
use crate::reactor::watch;

/// Our ends, in the reactor already: nothing of them can fail once the command runs.
#[derive(Default)]
pub(super) struct OurEnds {
    pub(super) stdin: Option<Pipe>,
    pub(super) stdout: Option<Pipe>,
    pub(super) stderr: Option<Pipe>,
}

/// The command's stdin, stdout and stderr, as far as they are pipes; open here until it has been started.
pub(super) struct TheirEnds(pub(super) [Option<OwnedFd>; 3]);

/// Makes the pipes of those streams that are piped. Of a stdin that is known to be empty no write end is
/// kept.
pub(super) fn make(
    streams: [StreamMode; 3],
    is_stdin_empty: bool,
) -> io::Result<(OurEnds, TheirEnds)> {
    let mut ours = OurEnds::default();
    let mut theirs = [None, None, None];
    let [stdin, stdout, stderr] = streams.map(|mode| mode == StreamMode::Piped);
    if stdin {
        let (read, write) = pipe()?;
        if !is_stdin_empty {
            ours.stdin = Some(watched(write, Interest::WRITABLE)?);
        }
        theirs[0] = Some(read);
    }
    if stdout {
        let (read, write) = pipe()?;
        ours.stdout = Some(watched(read, Interest::READABLE)?);
        theirs[1] = Some(write);
    }
    if stderr {
        let (read, write) = pipe()?;
        ours.stderr = Some(watched(read, Interest::READABLE)?);
        theirs[2] = Some(write);
    }
    Ok((ours, TheirEnds(theirs)))
}

impl TheirEnds {
    /// What tells who holds them.
    pub(super) fn marks(&self) -> io::Result<Vec<ChildEnd>> {
        let ends = (0..).zip(&self.0);
        ends.filter_map(|(number, fd)| Some((number, fd.as_ref()?)))
            .map(|(number, fd)| {
                Ok(ChildEnd {
                    inode: rustix::fs::fstat(fd)?.st_ino,
                    is_for_writing: number > 0,
                })
            })
            .collect()
    }
}

fn watched(fd: OwnedFd, interest: Interest) -> io::Result<Pipe> {
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
