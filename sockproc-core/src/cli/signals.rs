//! The signals that end a server.

use std::io;
use std::sync::Arc;
use std::task::Poll;

use nix::sys::signal::{SigSet, Signal};
use signal_hook::flag;
use tokio::signal::unix::{self, SignalKind, signal};

use crate::process::is_default;

/// Lets every signal come. An nginx master that reloads its configuration blocks SIGTERM meanwhile, and
/// what it starts then would never end.
pub(super) fn unblock_all() {
    // An empty mask is a valid one.
    let _ = SigSet::empty().thread_set_mask();
}

/// Has no signal end this process but those that end a server: a command may signal its parent, as
/// `kill -USR1 $PPID` does. Where there is a terminal, its own signals do what they always do.
///
/// They are caught, not ignored: execve(2) gives commands their defaults back.
pub(super) fn survive_others() -> io::Result<()> {
    use signal_hook::consts::*;
    const LAST: i32 = 64;
    /// What the kernel sends for a fault of ours, and what ends no process.
    const LEFT: [i32; 17] = [
        SIGABRT, SIGBUS, SIGCHLD, SIGCONT, SIGFPE, SIGILL, SIGINT, SIGKILL, SIGSEGV, SIGSTOP,
        SIGSYS, SIGTERM, SIGTRAP, SIGURG, SIGWINCH, 32, 33,
    ];
    const OF_TERMINAL: [i32; 5] = [SIGHUP, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU];
    let has_terminal = std::fs::File::open("/dev/tty").is_ok();
    let caught = (1..=LAST)
        .filter(|signal| !LEFT.contains(signal) && is_default(*signal))
        .filter(|signal| !(has_terminal && OF_TERMINAL.contains(signal)));
    for signal in caught {
        flag::register(signal, Arc::default())?;
    }
    Ok(())
}

/// While this lives, what ends a server waits; in the threads that start meanwhile it waits for ever.
pub(super) struct HeldSignals(SigSet);

impl HeldSignals {
    pub(super) fn hold() -> io::Result<Self> {
        let before = SigSet::thread_get_mask()?;
        let ends = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
        ends.thread_block()?;
        Ok(Self(before))
    }
}

impl Drop for HeldSignals {
    fn drop(&mut self) {
        // Setting a mask that was read before cannot fail.
        let _ = self.0.thread_set_mask();
    }
}

/// Some of the signals that end a process.
pub(super) struct Signals(Vec<unix::Signal>, Vec<SignalKind>);

impl Signals {
    /// What ends a server: SIGTERM and SIGINT, as with the C daemon.
    pub(super) fn of_server() -> io::Result<Self> {
        Self::new(vec![SignalKind::terminate(), SignalKind::interrupt()])
    }

    fn new(kinds: Vec<SignalKind>) -> io::Result<Self> {
        let signals = kinds
            .iter()
            .map(|&kind| signal(kind))
            .collect::<io::Result<_>>()?;
        Ok(Self(signals, kinds))
    }

    /// The number of the next of them.
    pub(super) async fn next(&mut self) -> i32 {
        let Self(signals, kinds) = self;
        std::future::poll_fn(|context| {
            let arrived = signals
                .iter_mut()
                .position(|signal| signal.poll_recv(context).is_ready());
            arrived.map_or(Poll::Pending, |which| {
                Poll::Ready(kinds[which].as_raw_value())
            })
        })
        .await
    }
}
