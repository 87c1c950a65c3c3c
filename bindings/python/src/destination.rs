//! Which server a run goes to, from what Python says.

use std::ffi::OsString;

use pyo3::prelude::*;
use sockproc_core::connection::Destination;
use sockproc_core::{Address, embedded};

use crate::error::PyError;

/// The server at an address; without one the private helper of this process.
pub(crate) fn destination_from(server: Option<OsString>) -> PyResult<Destination> {
    let address = server.as_deref().map(Address::parse).transpose();
    Ok(address.map_err(PyError::from)?.into())
}

/// Says which program becomes the private helper.
#[pyfunction]
pub(crate) fn set_helper(program: Vec<OsString>) {
    embedded::set_program(program);
}
