//! A command's output, received into the `bytes` object that Python gets.

use std::io::{self, Read, Take};

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use sockproc_core::connection;

/// One output stream of a run.
pub(crate) enum Body {
    /// Copied once more at the end, which costs less than a file object.
    Short(Vec<u8>),
    Long(Long),
}

/// An `io.BytesIO` around the only reference to a `bytes` as long as the output.
///
/// `getvalue` gives out that very object, so the output is in memory once; the kernel gives a page
/// of it only when it is written to.
pub(crate) struct Long {
    file: Py<PyAny>,
    filled: usize,
}

impl Default for Body {
    fn default() -> Self {
        Self::Short(Vec::new())
    }
}

impl connection::Body for Body {
    fn expect(&mut self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
        match self {
            Self::Short(bytes) if bytes.len().saturating_add(len) > SHORT => {
                *self = Self::Long(Long::new(bytes, len)?);
            }
            Self::Short(bytes) => bytes.reserve(len),
            Self::Long(_) => {} // the file grows as it is written to
        }
        Ok(())
    }

    fn append(&mut self, source: &mut Take<&mut dyn Read>) -> io::Result<()> {
        match self {
            Self::Short(bytes) => {
                let result = source.read_to_end(bytes).map(drop);
                // No length was announced, and this is much: the rest goes to a file that grows.
                if bytes.len() > SHORT {
                    *self = Self::Long(Long::new(bytes, 0)?);
                }
                result
            }
            Self::Long(long) => Python::attach(|py| long.fill(py, source)),
        }
    }
}

impl Body {
    /// All that has come.
    pub(crate) fn into_bytes(self, py: Python<'_>) -> PyResult<Bound<'_, PyBytes>> {
        match self {
            Self::Short(bytes) => Ok(PyBytes::new(py, &bytes)),
            Self::Long(long) => {
                let file = long.file.bind(py);
                file.call_method1("truncate", (long.filled,))?;
                Ok(file.call_method0("getvalue")?.cast_into()?)
            }
        }
    }

    /// A copy of what has come so far.
    pub(crate) fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        match self {
            Self::Short(bytes) => Ok(PyBytes::new(py, bytes)),
            Self::Long(long) => {
                let whole = long.file.call_method0(py, "getvalue")?;
                let whole = whole.bind(py).cast::<PyBytes>()?.as_bytes();
                Ok(PyBytes::new(py, &whole[..long.filled]))
            }
        }
    }
}

impl Long {
    /// A file that begins with `start` and has room for `len` more bytes.
    fn new(start: &[u8], len: usize) -> PyResult<Self> {
        let whole = start.len().saturating_add(len);
        Python::attach(|py| {
            let zeros = py.get_type::<PyBytes>().call1((whole,))?;
            let file = py.import("io")?.call_method1("BytesIO", (&zeros,))?;
            drop(zeros); // the file writes into the `bytes` it alone has, else it would copy
            file.call_method1("write", (start,))?;
            let (file, filled) = (file.unbind(), start.len());
            Ok(Self { file, filled })
        })
    }

    /// Reads by way of a chunk: only a new `bytes` can be written to.
    fn fill(&mut self, py: Python<'_>, source: &mut Take<&mut dyn Read>) -> io::Result<()> {
        loop {
            let want = source.limit().min(CHUNK as u64) as usize;
            let (mut got, mut result) = (0, Ok(()));
            let chunk = PyBytes::new_with(py, want, |room| {
                (got, result) = read_full(source, room);
                Ok(())
            })?;
            if got > 0 {
                let full = (got == want).then(|| chunk.clone());
                let chunk = full.unwrap_or_else(|| PyBytes::new(py, &chunk.as_bytes()[..got]));
                self.file.call_method1(py, "write", (chunk,))?;
                self.filled += got;
            }
            if result.is_err() || got < CHUNK {
                return result;
            }
        }
    }
}

/// Reads until `room` is full, or as much as there is: how many bytes, and what stopped it.
fn read_full(source: &mut impl Read, room: &mut [u8]) -> (usize, io::Result<()>) {
    let mut got = 0;
    while got < room.len() {
        match source.read(&mut room[got..]) {
            Ok(0) => break,
            Ok(len) => got += len,
            Err(error) => return (got, Err(error)),
        }
    }
    (got, Ok(()))
}

/// The longest output, in bytes, for which a second copy is cheaper than a file object.
const SHORT: usize = 64 * 1024;

/// Little enough to stay in the processor's cache until it is copied, and in the heap when freed.
const CHUNK: usize = 64 * 1024;
