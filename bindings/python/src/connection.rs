//! One run, driven by any event loop or by poll(2).

use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use sockproc_core::connection::{
    Collected, Connection as CoreConnection, Interest, Progress, Receiver,
};
use sockproc_core::proto::{Stream, WaitStatus};
use sockproc_core::{Address, ExitStatus, Output};

use crate::body::Body;
use crate::destination::destination_from;
use crate::error::PyError;
use crate::request::{Records, protocol_from, request_from};
use crate::stdin::stdin_from;
use crate::wait::Patience;

/// `Connection.on_ready`: the run is over.
pub(crate) const DONE: u8 = 0;
/// `Connection.on_ready`: call again when the descriptor is readable.
pub(crate) const READABLE: u8 = 1;
/// `Connection.on_ready`: call again when the descriptor is writable.
pub(crate) const WRITABLE: u8 = 2;
/// `Connection.on_ready`: call again after `retry_delay` seconds.
pub(crate) const RETRY: u8 = 4;

/// One run on a server: a non-blocking socket for an event loop to wait on.
#[pyclass(module = "sockproc._native")]
pub(crate) struct Connection {
    /// Never locked, each call has the object to itself; but only so can it be shared.
    run: Mutex<Option<CoreConnection<Collected<Body>>>>,
    output: Option<Output<Body>>,
    retry_delay: Duration,
}

#[pymethods]
impl Connection {
    /// A run of the request that has these records; nothing is sent before the first `on_ready`.
    /// Without a server it goes to the private helper.
    ///
    /// `stdin` is bytes, or an object whose `read(size)` returns `stdin_len` bytes in all.
    #[new]
    fn new(
        server: Option<OsString>,
        protocol: &str,
        records: Records,
        stdin: Bound<'_, PyAny>,
        stdin_len: u64,
    ) -> PyResult<Self> {
        let destination = destination_from(server)?;
        let protocol = protocol_from(protocol)?;
        let stdin = stdin_from(stdin, stdin_len)?;
        let request = request_from(&records)?;
        let run = CoreConnection::with_protocol(protocol, destination, request, stdin);
        let run = run.map_err(PyError::from)?;
        Ok(Self {
            run: Mutex::new(Some(run)),
            output: None,
            retry_delay: Duration::ZERO,
        })
    }

    /// Does what can be done without blocking, at most 1 MiB each way, and says when to call again:
    /// `DONE`, `RETRY`, or `READABLE` and `WRITABLE` or'ed.
    ///
    /// `ready` is what the event loop found, `READABLE` and `WRITABLE` or'ed; 0 in the first call.
    fn on_ready(&mut self, ready: u8) -> PyResult<u8> {
        self.step(Interest {
            readable: ready & READABLE != 0,
            writable: ready & WRITABLE != 0,
        })
    }

    /// Waits until the run is over; False if it is not after `timeout` seconds.
    #[pyo3(signature = (timeout=None))]
    fn wait(&mut self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let patience = Patience::new(timeout);
        let mut ready = Interest::NONE;
        loop {
            let pause = match self.step(ready)? {
                DONE => return Ok(true),
                RETRY => Some(self.retry_delay),
                _ => None,
            };
            // The step has seen whose run it is.
            let run = present(self.slot())?;
            match patience.wait(py, run.as_fd(), run.interest(), pause)? {
                Some(found) => ready = found,
                None => return Ok(false),
            }
        }
    }

    /// The wait status, stdout and stderr of a run that is over; they are given once.
    fn output<'py>(
        &mut self,
        py: Python<'py>,
    ) -> PyResult<(i32, Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
        let Some(output) = self.output.take() else {
            return Err(PyRuntimeError::new_err("the run is not over"));
        };
        let stdout = output.stdout.into_bytes(py)?;
        let stderr = output.stderr.into_bytes(py)?;
        let status = output.status.wait_status().map_or(-1, WaitStatus::raw);
        Ok((status, stdout, stderr))
    }

    /// What has come of stdout and stderr so far.
    fn partial_output<'py>(
        &mut self,
        py: Python<'py>,
    ) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
        let run = self.run()?;
        let stdout = run.body(Stream::Stdout).to_bytes(py)?;
        Ok((stdout, run.body(Stream::Stderr).to_bytes(py)?))
    }

    /// Closes the descriptor; if the run is not over, it is given up, and the server sees at once
    /// that this client has gone.
    fn abort(&mut self) {
        *self.slot() = None;
    }

    /// The descriptor to wait for. It may be another one after each `RETRY`.
    fn fileno(&mut self) -> PyResult<i32> {
        Ok(self.run()?.as_raw_fd())
    }

    /// Whether any byte of the request was sent: if not, the command has not run.
    #[getter]
    fn sent(&mut self) -> bool {
        self.slot().as_ref().is_none_or(CoreConnection::sent)
    }

    /// Seconds to wait when `on_ready` has said `RETRY`.
    #[getter]
    fn retry_delay(&self) -> f64 {
        self.retry_delay.as_secs_f64()
    }
}

impl Connection {
    fn slot(&mut self) -> &mut Option<CoreConnection<Collected<Body>>> {
        self.run.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    /// The run, while it goes on and belongs to this process.
    fn run(&mut self) -> PyResult<&mut CoreConnection<Collected<Body>>> {
        owned(self.slot())
    }

    fn step(&mut self, ready: Interest) -> PyResult<u8> {
        if self.output.is_some() {
            return Ok(DONE);
        }
        let run = self.run()?;
        match run.on_ready(ready).map_err(PyError::from)? {
            Progress::Done(output) => {
                // The descriptor stays open: an event loop may still be watching it.
                self.output = Some(output);
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
}

/// A run, while it goes on and belongs to this process.
pub(crate) fn owned<R: Receiver>(
    slot: &mut Option<CoreConnection<R>>,
) -> PyResult<&mut CoreConnection<R>> {
    let run = present(slot)?;
    if !run.is_ours() {
        let message = "this run belongs to the process that was forked";
        return Err(PyRuntimeError::new_err(message));
    }
    Ok(run)
}

fn present<R: Receiver>(slot: &mut Option<CoreConnection<R>>) -> PyResult<&mut CoreConnection<R>> {
    let ended = || PyValueError::new_err("the run is over or was given up");
    slot.as_mut().ok_or_else(ended)
}

/// Refuses a `server` that is no address.
#[pyfunction]
pub(crate) fn check_address(server: OsString) -> PyResult<()> {
    Address::parse(&server).map_err(PyError::from)?;
    Ok(())
}

/// Refuses a `protocol` that there is not.
#[pyfunction]
pub(crate) fn check_protocol(protocol: &str) -> PyResult<()> {
    protocol_from(protocol).map(drop)
}

/// What `subprocess` calls the return code of a wait status; None if it names no end of a process.
#[pyfunction]
pub(crate) fn returncode(status: i32) -> Option<i16> {
    match WaitStatus::from_raw(status).decode() {
        ExitStatus::Code(code) => Some(code.into()),
        ExitStatus::Signal { signal, .. } => Some(-i16::from(signal)),
        _ => None,
    }
}
