//! One run whose streams do not pass the server, driven by any event loop or by poll(2).

use std::ffi::OsString;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use sockproc_core::connection::{Connection, Events, Interest, Progress, Protocol};
use sockproc_core::proto::{Exit, SignalTo, WaitStatus};

use crate::connection::{DONE, READABLE, RETRY, WRITABLE, owned};
use crate::descriptor;
use crate::destination::destination_from;
use crate::error::PyError;
use crate::request::{Records, request_from};

/// A run on a server that speaks the native protocol: a non-blocking socket for an event loop to
/// wait on.
#[pyclass(module = "sockproc._native")]
pub(crate) struct Child {
    /// Never locked, each call has the object to itself; but only so can it be shared.
    run: Mutex<Option<Connection<Events>>>,
    exit: Option<Exit>,
    retry_delay: Duration,
}

#[pymethods]
impl Child {
    /// A run of the request that has these records; nothing is sent before the first `on_ready`.
    /// Without a server it goes to the private helper.
    ///
    /// The command gets `descriptors`, of which copies are taken here: one for each standard stream
    /// that is `fd`, then one for each record `fd`.
    #[new]
    fn new(server: Option<OsString>, records: Records, descriptors: Vec<RawFd>) -> PyResult<Self> {
        let destination = destination_from(server)?;
        let request = request_from(&records)?;
        let copies = descriptors.into_iter().map(descriptor::copy);
        let copies = copies.collect::<PyResult<Vec<_>>>()?;
        let run = Connection::with_descriptors(Protocol::Native, destination, request, copies);
        Ok(Self {
            run: Mutex::new(Some(run.map_err(PyError::from)?)),
            exit: None,
            retry_delay: Duration::ZERO,
        })
    }

    /// Does what can be done without blocking, and says when to call again: `DONE`, `RETRY`, or
    /// `READABLE` and `WRITABLE` or'ed.
    ///
    /// `ready` is what the event loop found, `READABLE` and `WRITABLE` or'ed; 0 in the first call.
    fn on_ready(&mut self, ready: u8) -> PyResult<u8> {
        if self.exit.is_some() {
            return Ok(DONE);
        }
        let run = self.run()?;
        let progress = run.on_ready(Interest {
            readable: ready & READABLE != 0,
            writable: ready & WRITABLE != 0,
        });
        match progress.map_err(PyError::from)? {
            Progress::Done(exit) => {
                self.exit = Some(exit);
                Ok(DONE)
            }
            Progress::Retry(delay) => {
                self.retry_delay = delay;
                Ok(RETRY)
            }
            Progress::Reconnect => {
                self.retry_delay = Duration::ZERO;
                Ok(RETRY)
            }
            Progress::Wait | Progress::Yield => {
                let Interest { readable, writable } = run.interest();
                Ok(u8::from(readable) * READABLE + u8::from(writable) * WRITABLE)
            }
        }
    }

    /// The leader's process id, once it has been started.
    #[getter]
    fn pid(&mut self) -> Option<u32> {
        self.slot().as_ref().and_then(Connection::pid)
    }

    /// The wait status of a run that is over; -1 if the server does not know it.
    fn status(&self) -> PyResult<i32> {
        let not_over = || PyRuntimeError::new_err("the run is not over");
        let exit = self.exit.as_ref().ok_or_else(not_over)?;
        Ok(exit.status.wait_status().map_or(-1, WaitStatus::raw))
    }

    /// Sends the leader a signal; `on_ready` moves it.
    fn signal(&mut self, number: u8) -> PyResult<()> {
        let signalled = self.run()?.signal(number, SignalTo::Leader);
        Ok(signalled.map_err(PyError::from)?)
    }

    /// Has the server end the command with its tree; `on_ready` moves that.
    fn cancel(&mut self) -> PyResult<()> {
        Ok(self.run()?.cancel().map_err(PyError::from)?)
    }

    /// Closes the descriptor; if the run is not over, the server ends the command with its tree.
    fn abort(&mut self) {
        *self.slot() = None;
    }

    /// The descriptor to wait for. It may be another one after each `RETRY`.
    fn fileno(&mut self) -> PyResult<i32> {
        Ok(self.run()?.as_raw_fd())
    }

    /// Seconds to wait when `on_ready` has said `RETRY`.
    #[getter]
    fn retry_delay(&self) -> f64 {
        self.retry_delay.as_secs_f64()
    }
}

impl Child {
    fn slot(&mut self) -> &mut Option<Connection<Events>> {
        self.run.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    /// The run, while it goes on and belongs to this process.
    fn run(&mut self) -> PyResult<&mut Connection<Events>> {
        owned(self.slot())
    }
}
