//! Descriptors that Python knows by their numbers.
#![allow(unsafe_code)]

use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use rustix::io::fcntl_dupfd_cloexec;

use crate::error::os_error;

/// A copy of descriptor `number`, not to be inherited.
///
/// # Errors
/// There is no such descriptor, or no room for one more.
pub(crate) fn copy(number: RawFd) -> PyResult<OwnedFd> {
    if number < 0 {
        let message = format!("file descriptor cannot be a negative integer ({number})");
        return Err(PyValueError::new_err(message));
    }
    // SAFETY: nothing but the next call uses it, and that fails with EBADF where nothing is open.
    let named = unsafe { BorrowedFd::borrow_raw(number) };
    fcntl_dupfd_cloexec(named, 0).map_err(|error| os_error(error.into()))
}
