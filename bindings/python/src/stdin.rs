//! A command's stdin, from Python objects.

use std::io::{self, Read};

use bytes::Bytes;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;
use sockproc_core::Stdin;

/// `bytes` are sent from where they are; anything else is an object whose `read(size)` gives
/// `len` bytes in all.
pub(crate) fn stdin_from(source: Bound<'_, PyAny>, len: u64) -> PyResult<Stdin> {
    if source.is_instance_of::<PyBytes>() {
        return Ok(Bytes::from_owner(source.extract::<PyBackedBytes>()?).into());
    }
    Ok(Stdin::from_reader(Reader(source.unbind()), len))
}

/// A Python object with a `read(size)`.
struct Reader(Py<PyAny>);

impl Read for Reader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Python::attach(|py| {
            let chunk = self
                .0
                .call_method1(py, pyo3::intern!(py, "read"), (buf.len(),))?;
            let chunk = chunk
                .cast_bound::<PyBytes>(py)
                .map_err(PyErr::from)?
                .as_bytes();
            let room = buf
                .get_mut(..chunk.len())
                .ok_or(io::ErrorKind::InvalidData)?;
            room.copy_from_slice(chunk);
            Ok(chunk.len())
        })
    }
}
