//! Clients that send a request and then do nothing more, or read their reply and stay.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Connections, open until this is dropped.
pub struct Crowd(Vec<UnixStream>);

impl Crowd {
    /// Connects `count` clients, each of which sends `bytes` at once.
    ///
    /// # Errors
    /// The server does not take them, or there are too few descriptors.
    pub fn send(socket: &Path, count: usize, bytes: &[u8]) -> io::Result<Self> {
        let connect = |_| {
            let mut stream = UnixStream::connect(socket)?;
            stream.write_all(bytes)?;
            Ok(stream)
        };
        Ok(Self((0..count).map(connect).collect::<io::Result<_>>()?))
    }

    /// Waits until the reply of each has begun, and does not read it; returns whether all began in time.
    ///
    /// # Errors
    /// What `poll` fails with.
    pub fn wait_for_replies(&self, patience: Duration) -> io::Result<bool> {
        let deadline = Instant::now() + patience;
        for stream in &self.0 {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
            let mut polled = [PollFd::new(stream, PollFlags::IN)];
            if rustix::io::retry_on_intr(|| poll(&mut polled, Some(&timeout)))? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads the whole reply of each, one after another, and keeps the connections open.
    ///
    /// # Errors
    /// A reply is shorter than `least` bytes, or does not end in time.
    pub fn read_replies(&mut self, least: u64, patience: Duration) -> io::Result<()> {
        for stream in &mut self.0 {
            stream.set_read_timeout(Some(patience))?;
            let read = io::copy(stream, &mut io::sink())?;
            if read < least {
                return Err(io::Error::other(format!("a reply of {read} bytes")));
            }
        }
        Ok(())
    }
}

/// Raises the limit on open files to the most that is allowed: a crowd has many.
pub fn raise_open_files() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    // What then is too little says so itself.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    );
}
