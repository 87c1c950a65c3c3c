//! The private helper: a server of this process's own, for runs that name none.
//!
//! It is started once, by the first such run, and serves no other process. A socket pair leads to each
//! run: one end is handed to the helper over the control socket that it was started with. So there is no
//! path, and no one else can connect. It is not a child of this process, and ends when this process has
//! died, every run with it.
//!
//! A run sees the working directory and the environment that this process has when it begins. Another
//! helper takes over where this process was forked, its user, groups or root directory have changed, or
//! the helper has died.
//!
//! It is the `sockproc` binary: the one that `$SOCKPROC_BIN` names, else what [`set_program`] says, else
//! the one on the `PATH`. There are helpers on Linux only.

#[cfg(target_os = "linux")]
mod control;
#[cfg(not(target_os = "linux"))]
mod elsewhere;
mod file_id;
mod helper;
mod identity;
mod inherited;
mod program;
#[cfg(target_os = "linux")]
mod start;

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;

use crate::Error;
#[cfg(not(target_os = "linux"))]
use elsewhere as control;
#[cfg(not(target_os = "linux"))]
use elsewhere as start;

#[cfg(feature = "cli")]
pub(crate) use control::{OWNER, REASON_LEN};
pub(crate) use helper::{Handed, Helper};
pub use program::set_program;

/// What an interpreter or a binary is told to become a helper. The C daemon and other releases take a
/// first word for the address to serve: at this one nothing can listen.
pub const ARGUMENT: &str = "/dev/null/sockproc-helper";

/// The helper of this process, with a request completed for it by [`Helper::complete`].
///
/// # Errors
/// [`Error::NoServer`] if there is no program for it, [`Error::Helper`] if it cannot be started.
pub(crate) fn helper() -> Result<Arc<Helper>, Error> {
    find(Helper::is_ours)
}

/// As [`helper`], with the working directory and the environment that this process has now: for requests
/// that cannot say those.
///
/// # Errors
/// As [`helper`].
pub(crate) fn helper_of_now() -> Result<Arc<Helper>, Error> {
    find(|helper| helper.is_ours() && helper.is_of_now())
}

/// Has the next run start another helper than this one.
pub(crate) fn forget(helper: &Arc<Helper>) {
    let state = state();
    let mut running = state.running.lock().unwrap_or_else(PoisonError::into_inner);
    if running.as_ref().is_some_and(|now| Arc::ptr_eq(now, helper)) {
        *running = None;
    }
}

fn find(is_good: impl Fn(&Helper) -> bool) -> Result<Arc<Helper>, Error> {
    let state = state();
    let mut running = state.running.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(helper) = &*running
        && is_good(helper)
    {
        return Ok(helper.clone());
    }
    // One that must not be used any more still serves the runs that it has.
    *running = None;
    let started = Arc::new(Helper::start()?);
    *running = Some(started.clone());
    Ok(started)
}

/// What belongs to one process.
struct State {
    pid: u32,
    /// Locked while one is started: threads that come at the same moment wait for the same helper.
    running: Mutex<Option<Arc<Helper>>>,
}

/// Swapped without a lock: in a child that was forked while another thread held the mutex, that one is
/// locked for ever. The child never touches it, because the process id differs.
static STATE: ArcSwapOption<State> = ArcSwapOption::const_empty();

fn state() -> Arc<State> {
    let pid = std::process::id();
    loop {
        let found = STATE.load();
        if let Some(state) = &*found
            && state.pid == pid
        {
            return state.clone();
        }
        let ours = Arc::new(State {
            pid,
            running: Mutex::default(),
        });
        // Another thread may be faster: then its state is found.
        STATE.compare_and_swap(&found, Some(ours));
    }
}
