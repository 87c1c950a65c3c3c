//! A server that belongs to one process, its owner, which hands over the connections: there is no
//! listener.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::accepted::Transport;
use super::strangers::{MAX_FDS, Received, receive};
use super::{Common, Server};
use crate::embedded::{OWNER, REASON_LEN};
use crate::reactor::{ready_now, watch};

/// The owner, at the other end of the control socket of [`embedded`](crate::embedded).
pub(crate) struct Owner {
    control: OwnedFd,
    /// `None` where the kernel has no pidfd: then it has died when no one holds the control socket.
    pidfd: Option<OwnedFd>,
}

/// What commands find in their environment.
type Variables = Vec<(OsString, OsString)>;

impl Owner {
    /// Reads who is at the other end of `control`, and the environment for commands.
    ///
    /// # Errors
    /// There is no owner.
    pub(crate) fn meet(control: OwnedFd) -> io::Result<(Self, Variables)> {
        let mut message = [0; OWNER.len()];
        let received = rustix::io::retry_on_intr(|| receive(&control, &mut message, MAX_FDS))?;
        let mut descriptors = received.fds.into_iter();
        let environment = descriptors.next().filter(|_| message == OWNER);
        let environment = environment.ok_or(io::ErrorKind::InvalidData)?;
        let pidfd = descriptors.next();
        Ok((Self { control, pidfd }, variables(environment)?))
    }

    /// Tells the owner why there will be no server.
    pub(crate) fn tell(control: &OwnedFd, reason: &str) {
        let reason = reason.as_bytes();
        // It may have gone.
        let _ = send(
            control,
            &reason[..reason.len().min(REASON_LEN)],
            SendFlags::NOSIGNAL,
        );
    }

    /// The control socket.
    pub(crate) fn control(&self) -> &OwnedFd {
        &self.control
    }
}

impl Server {
    /// Serves what the owner hands over, until it hands over no more and the last of that is over. When
    /// it has died, all runs are ended with their trees before this returns.
    ///
    /// # Errors
    /// The owner cannot be watched.
    pub(crate) async fn serve_owner(self, owner: Owner) -> io::Result<()> {
        let _orphans = self.reap_orphans();
        let (running, mut all_ended) = mpsc::channel::<()>(1);
        let control = watch(owner.control, Interest::READABLE)?;
        let pidfd = owner.pidfd.map(|pidfd| watch(pidfd, Interest::READABLE));
        let pidfd = pidfd.transpose()?;
        let died = async {
            match &pidfd {
                Some(pidfd) => drop(pidfd.readable().await),
                None => std::future::pending().await,
            }
        };
        let served = async {
            self.common.clone().take_all(&control, running).await;
            // It has forgotten us, but its runs go on.
            if pidfd.is_some() {
                all_ended.recv().await;
            }
        };
        tokio::select! {
            biased;
            () = died => {}
            () = served => {}
        }
        self.common.shutdown.kill();
        self.all_trees_ended(&mut all_ended).await;
        Ok(())
    }

    /// Resolves when no command runs any more. What is left of the answers has no reader.
    async fn all_trees_ended(&self, all_ended: &mut mpsc::Receiver<()>) {
        const LOOK: Duration = Duration::from_millis(20);
        let no_leader = async {
            tokio::time::sleep(LOOK).await;
            while self.common.spawner.has_leaders() {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::select! {
            _ = all_ended.recv() => {}
            () = no_leader => {}
        }
    }
}

impl Common {
    /// Serves each connection that comes, until no more can.
    async fn take_all(self: Arc<Self>, control: &AsyncFd<OwnedFd>, running: mpsc::Sender<()>) {
        loop {
            let Ok(mut ready) = control.readable().await else {
                return;
            };
            let permit = match self.budget.try_connection() {
                Some(permit) => permit,
                None if ready_now(control, PollFlags::IN).is_empty() => {
                    ready.clear_ready();
                    continue;
                }
                None => self.budget.connection().await,
            };
            match self.take(control.get_ref(), permit, &running) {
                Ok(true) | Err(Errno::CONNRESET) => {}
                Ok(false) => return,
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// Takes one connection; false if no more come.
    fn take(
        self: &Arc<Self>,
        control: &OwnedFd,
        permit: OwnedSemaphorePermit,
        running: &mpsc::Sender<()>,
    ) -> Result<bool, Errno> {
        let mut message = [0; OWNER.len()];
        let Received { len, mut fds, .. } =
            rustix::io::retry_on_intr(|| receive(control, &mut message, MAX_FDS))?;
        // A connection that there was no descriptor for is closed, and its client asks another helper.
        if let Some(connection) = fds.pop() {
            self.clone()
                .start(connection, Transport::Unix, permit, running);
        }
        Ok(len > 0)
    }
}

/// The variables of an environment in the form of environ(7).
fn variables(file: OwnedFd) -> io::Result<Variables> {
    let mut file = File::from(file);
    let mut environment = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut environment)?;
    let entries = environment.split(|&byte| byte == 0);
    let variables = entries.filter_map(|entry| {
        let equals = 1 + entry.iter().skip(1).position(|&byte| byte == b'=')?;
        let (name, value) = (&entry[..equals], &entry[equals + 1..]);
        Some((
            OsString::from_vec(name.to_vec()),
            OsString::from_vec(value.to_vec()),
        ))
    });
    Ok(variables.collect())
}

/// After a moment in which the kernel had no memory.
const PAUSE: Duration = Duration::from_millis(20);
