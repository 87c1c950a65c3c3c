//! A child on its way from clone to `execve`, as its parent's other threads see it.

use std::io;
use std::sync::atomic::AtomicI32;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process, waitid, waitpid,
};

use super::process_table::has_executed;

/// One start, which may hang in the kernel: the thread that makes it stands still until the child has
/// executed its program.
#[derive(Debug, Default)]
pub(crate) struct Newborn {
    /// The child writes its number itself, before anything else; 0 until then. Its parent learns it only
    /// after the child's `execve`, and by then it may have exited.
    number: AtomicI32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The program is not to be executed any more.
    is_given_up: bool,
    /// The number may be signalled: the child has not been waited for.
    is_ours: bool,
}

impl Newborn {
    /// Called by the child, in memory that it shares with its parent.
    pub(super) fn set_pid(&self, pid: i32) {
        self.number.store(pid, Release);
    }

    /// Where the kernel writes the number of a child that does not share our memory.
    pub(super) fn as_ptr(&self) -> *mut i32 {
        self.number.as_ptr()
    }

    pub(super) fn pid(&self) -> Option<Pid> {
        Pid::from_raw(self.number.load(Acquire))
    }

    /// Gives the start up: a child that has not executed its program is killed, and never does. The child
    /// may be between two steps, so call this again until the start has come to its end.
    pub(crate) fn give_up(&self) {
        let mut state = self.state();
        state.is_given_up = true;
        if let Some(pid) = self.pid()
            && state.is_ours
            && !has_executed(pid)
        {
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    /// Takes in that a child is made now.
    ///
    /// # Errors
    /// The start has been given up.
    pub(super) fn begin(&self) -> io::Result<()> {
        let mut state = self.state();
        if state.is_given_up {
            return Err(given_up());
        }
        self.number.store(0, Release);
        state.is_ours = true;
        Ok(())
    }

    /// Takes in that the child has executed its program, or was killed before.
    ///
    /// # Errors
    /// It was killed before, and has been waited for.
    pub(super) fn end(&self, pid: Pid) -> io::Result<()> {
        let is_given_up = {
            let mut state = self.state();
            state.is_ours = false;
            state.is_given_up
        };
        if !is_given_up || has_executed(pid) {
            return Ok(());
        }
        // The kernel lets us go on a moment before it says that the child has executed its program. Once
        // the child is dead, what it says is final.
        let _ = kill_process(pid, Signal::KILL);
        let exited = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let _ = rustix::io::retry_on_intr(|| waitid(WaitId::Pid(pid), exited));
        if has_executed(pid) {
            return Ok(());
        }
        let _ = waitpid(Some(pid), WaitOptions::empty());
        Err(given_up())
    }

    /// Waits for a child that has failed: its number may be given again after that.
    pub(super) fn reap(&self, pid: Pid) {
        self.state().is_ours = false;
        let _ = waitpid(Some(pid), WaitOptions::empty());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn given_up() -> io::Error {
    io::Error::new(io::ErrorKind::Interrupted, "given up before it was started")
}
