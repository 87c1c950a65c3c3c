//! A server that ends with the process that started it.

use std::io;
use std::thread;

use nix::sys::signal::SigSet;
use rustix::process::{Pid, Signal, getpid, getppid, kill_process};

/// Has this process end, as SIGTERM ends it, when `owner`, its parent, has died.
pub(crate) fn end_with(owner: i32) -> io::Result<()> {
    let owner = Pid::from_raw(owner).ok_or(io::ErrorKind::InvalidInput)?;
    let death = Death::of(owner);
    // A parent that died before we looked has left its number to anybody.
    if getppid() != Some(owner) {
        return Ok(kill_process(getpid(), Signal::TERM)?);
    }
    let death = death?;
    // The thread hears no signal: one that it took before the server has its handlers would end the
    // process, and leave the socket.
    let before = SigSet::thread_get_mask()?;
    SigSet::all().thread_set_mask()?;
    let started = thread::Builder::new()
        .name("owner".to_owned())
        .spawn(move || {
            death.wait();
            let _ = kill_process(getpid(), Signal::TERM);
        });
    before.thread_set_mask()?;
    started.map(drop)
}

#[cfg(target_os = "linux")]
struct Death(std::os::fd::OwnedFd);

#[cfg(target_os = "linux")]
impl Death {
    fn of(owner: Pid) -> io::Result<Self> {
        let flags = rustix::process::PidfdFlags::empty();
        Ok(Self(rustix::process::pidfd_open(owner, flags)?))
    }

    fn wait(&self) {
        use rustix::event::{PollFd, PollFlags, poll};
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        while poll(&mut fds, None) == Err(rustix::io::Errno::INTR) {}
    }
}

#[cfg(not(target_os = "linux"))]
struct Death(Pid);

#[cfg(not(target_os = "linux"))]
impl Death {
    fn of(owner: Pid) -> io::Result<Self> {
        Ok(Self(owner))
    }

    /// Nothing tells, so look.
    fn wait(&self) {
        while getppid() == Some(self.0) {
            thread::sleep(std::time::Duration::from_millis(250));
        }
    }
}
