//! `sockproc._native`: what the Python package does not do in Python.

mod body;
mod child;
mod connection;
mod descriptor;
mod destination;
mod error;
mod owner;
mod request;
mod stdin;
mod wait;

/// The compiled half of sockproc: a connection that event loops drive, and the command line.
///
/// Private: what is for use is in `sockproc` itself.
#[pyo3::pymodule(gil_used = false)]
mod _native {
    use std::ffi::OsString;

    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::child::Child;
    #[pymodule_export]
    use crate::connection::{Connection, check_address, check_protocol, returncode};
    #[pymodule_export]
    use crate::destination::set_helper;

    /// `Connection.on_ready`: the run is over.
    #[pymodule_export]
    const DONE: u8 = crate::connection::DONE;

    /// `Connection.on_ready`: call again when the descriptor is readable.
    #[pymodule_export]
    const READABLE: u8 = crate::connection::READABLE;

    /// `Connection.on_ready`: call again when the descriptor is writable.
    #[pymodule_export]
    const WRITABLE: u8 = crate::connection::WRITABLE;

    /// `Connection.on_ready`: call again after `retry_delay` seconds.
    #[pymodule_export]
    const RETRY: u8 = crate::connection::RETRY;

    /// Runs the `sockproc` command line `args` and returns its exit code, and what is to be told on
    /// stderr; other Python threads run meanwhile.
    ///
    /// `program` starts this command line anew, for a daemon. With `owner`, the number of the parent
    /// process, this process ends when that one has died.
    #[pyfunction]
    #[pyo3(signature = (program, args, owner=None))]
    fn main(
        py: Python<'_>,
        program: Vec<OsString>,
        args: Vec<OsString>,
        owner: Option<i32>,
    ) -> PyResult<(i32, String)> {
        if let Some(owner) = owner {
            crate::owner::end_with(owner)?;
        }
        let ended = py.detach(|| sockproc_core::cli::try_main(&program, args));
        Ok(ended.map_or_else(
            |failed| (failed.code, failed.told),
            |code| (code, String::new()),
        ))
    }
}
