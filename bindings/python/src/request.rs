//! What is asked of a server, from Python objects.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use sockproc_core::Error;
use sockproc_core::connection::Protocol;
use sockproc_core::proto::{Request, native};

use crate::error::PyError;

/// The records of a request: names and values as PROTOCOL.md lists them for RUN.
pub(crate) type Records = Vec<(PyBackedStr, PyBackedBytes)>;

pub(crate) fn request_from(records: &Records) -> PyResult<Request> {
    let records = records.iter().map(|(name, value)| (&**name, &**value));
    let request = native::request_of(records);
    Ok(request.map_err(|error| PyError::from(Error::Request(error)))?)
}

pub(crate) fn protocol_from(name: &str) -> PyResult<Protocol> {
    match name {
        "auto" => Ok(Protocol::Auto),
        "classic" => Ok(Protocol::Classic),
        "native" => Ok(Protocol::Native),
        _ => {
            let message = format!("protocol must be 'auto', 'classic' or 'native', not {name:?}");
            Err(PyValueError::new_err(message))
        }
    }
}
