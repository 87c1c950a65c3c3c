//! Core errors as the exceptions of `sockproc._errors`.

use std::io::{Error as IoError, ErrorKind};

use pyo3::exceptions::{PyEOFError, PyOSError, PyRuntimeError};
use pyo3::prelude::*;
use rustix::io::Errno;
use sockproc_core::Error;
use sockproc_core::proto::{self, Stream};

pyo3::import_exception!(sockproc._errors, BadAddress);
pyo3::import_exception!(sockproc._errors, BadRequest);
pyo3::import_exception!(sockproc._errors, CannotConnect);
pyo3::import_exception!(sockproc._errors, ConnectionLost);
pyo3::import_exception!(sockproc._errors, IdleTooLong);
pyo3::import_exception!(sockproc._errors, NoRoom);
pyo3::import_exception!(sockproc._errors, NoServer);
pyo3::import_exception!(sockproc._errors, OutputTooLarge);
pyo3::import_exception!(sockproc._errors, ProtocolError);
pyo3::import_exception!(sockproc._errors, Refused);
pyo3::import_exception!(sockproc._errors, ServerFailed);
pyo3::import_exception!(sockproc._errors, ServerForbidden);
pyo3::import_exception!(sockproc._errors, ServerNotFound);
pyo3::import_exception!(sockproc._errors, ServerNotListening);
pyo3::import_exception!(sockproc._errors, Unsupported);

/// An error on its way to Python.
pub(crate) struct PyError(Error);

impl<E: Into<Error>> From<E> for PyError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl From<PyError> for PyErr {
    fn from(PyError(error): PyError) -> Self {
        let message = error.to_string();
        match error {
            Error::NoServer { reason } => NoServer::new_err(format!(
                "no server: {reason}; give server=, or set $SOCKPROC_SOCKET"
            )),
            Error::Helper { source, .. } => {
                ServerFailed::new_err((None::<i32>, format!("{message}: {source}")))
            }
            Error::Address(_) => BadAddress::new_err(message),
            // The kernel's word for too many words (execve(2)). A request can carry as many as the kernel takes.
            Error::Request(proto::ProtocolError::LongRequest { .. }) => {
                let errno = Errno::TOOBIG.raw_os_error();
                Refused::new_err(("bad-request", message, false, "exec", errno))
            }
            Error::Argv(_) | Error::Request(_) | Error::Token(_) => BadRequest::new_err(message),
            Error::Protocol(_) | Error::Failed { .. } => ProtocolError::new_err(message),
            Error::Unsupported { field, .. } => Unsupported::new_err((message, field)),
            Error::IdleTimeout { .. } => IdleTooLong::new_err(message),
            Error::Refused {
                kind,
                step,
                errno,
                message,
            } => Refused::new_err((kind.to_string(), message, false, step, errno)),
            // Something listens there, and its answer to the opening is not a server's.
            Error::Connect { source, .. } if source.raw_os_error().is_none() => {
                ProtocolError::new_err((source.to_string(), false))
            }
            Error::Connect { address, source } => {
                let args = (source.raw_os_error(), reason(&source), address.to_string());
                match source.kind() {
                    ErrorKind::NotFound => ServerNotFound::new_err(args),
                    ErrorKind::ConnectionRefused => ServerNotListening::new_err(args),
                    ErrorKind::PermissionDenied => ServerForbidden::new_err(args),
                    _ => CannotConnect::new_err(args),
                }
            }
            Error::Disconnected { sent, source } => {
                ConnectionLost::new_err((format!("{message}: {source}"), sent))
            }
            Error::OutputTooLarge { stream, len, limit } => {
                OutputTooLarge::new_err((name(stream), len, limit))
            }
            Error::NoRoom { .. } => NoRoom::new_err(message),
            Error::Stdin { source, .. } if source.kind() == ErrorKind::UnexpectedEof => {
                PyEOFError::new_err(format!("{message}: {source}"))
            }
            // The exception of whoever was to give the stdin, or the kernel's word.
            Error::Stdin { source, .. } | Error::Wait(source) => os_error(source),
            _ => PyRuntimeError::new_err(message),
        }
    }
}

/// An OSError that has its `errno`, if the kernel has said one.
pub(crate) fn os_error(error: IoError) -> PyErr {
    match error.raw_os_error() {
        Some(errno) => PyOSError::new_err((errno, reason(&error))),
        None => error.into(),
    }
}

/// What `os.strerror` says, without the "(os error 2)" that Rust appends.
fn reason(error: &IoError) -> String {
    let text = error.to_string();
    match text.rsplit_once(" (os error") {
        Some((reason, _)) => reason.to_owned(),
        None => text,
    }
}

fn name(stream: Stream) -> &'static str {
    match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    }
}
