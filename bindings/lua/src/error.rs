//! How failures reach Lua: `nil, message, kind`, whatever went wrong.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use mlua::{IntoLuaMulti, Lua, MultiValue, Value};
use rustix::io::Errno;
use sockproc_core::Error;
use sockproc_core::proto::ProtocolError;

use crate::args::Args;

/// What a call returns to Lua when it fails.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) message: String,
    pub(crate) kind: &'static str,
}

impl Failure {
    pub(crate) fn new(kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            kind,
        }
    }

    /// A wrong argument. The Lua side checks its callers' arguments and raises these.
    pub(crate) fn misuse(message: impl Into<String>) -> Self {
        Self::new("misuse", message)
    }

    /// A system call's failure, in the words of nginx's cosockets: strerror in lower case.
    pub(crate) fn system(kind: &'static str, errno: Errno) -> Self {
        Self::io(kind, &errno.into())
    }

    /// As [`system`](Self::system).
    pub(crate) fn io(kind: &'static str, error: &io::Error) -> Self {
        let text = error.to_string();
        let text = text.split(" (os error").next().unwrap_or_default();
        Self::new(kind, text.to_lowercase())
    }

    /// Why there is no connection: of kind `backlog` where the server's is full, else `connect`.
    pub(crate) fn connect(error: &Error) -> Self {
        match error {
            Error::Connect { source, .. } if source.kind() == io::ErrorKind::WouldBlock => {
                Self::system("backlog", Errno::AGAIN)
            }
            Error::Connect { source, .. } if source.kind() == io::ErrorKind::TimedOut => {
                Self::new("connect", "timeout")
            }
            Error::Connect { source, .. } => Self::io("connect", source),
            Error::NoServer { reason } => Self::new(
                "connect",
                format!("no server: {reason}; give one as option 'server' or set SOCKPROC_SOCKET"),
            ),
            Error::Helper { source, .. } => Self::new("connect", format!("{error}: {source}")),
            Error::Disconnected { source, .. } if source.kind() == io::ErrorKind::WouldBlock => {
                Self::system("backlog", Errno::AGAIN)
            }
            other => Self::new("connect", other.to_string()),
        }
    }

    fn to_lua(&self, lua: &Lua) -> mlua::Result<MultiValue> {
        (Value::Nil, self.message.as_str(), self.kind).into_lua_multi(lua)
    }
}

impl From<ProtocolError> for Failure {
    fn from(error: ProtocolError) -> Self {
        let kind = match error {
            ProtocolError::Truncated => "closed",
            ProtocolError::WrongState { .. } | ProtocolError::StdinLength { .. } => "misuse",
            _ if error.is_local() => "bad_request",
            _ => "protocol",
        };
        Self::new(kind, error.to_string())
    }
}

/// What the interpreter itself raised while we called it: it is out of memory, or a hook ended the
/// program at Ctrl-C. The Lua side raises these again.
impl From<mlua::Error> for Failure {
    fn from(error: mlua::Error) -> Self {
        let message = match error {
            mlua::Error::RuntimeError(message) | mlua::Error::MemoryError(message) => message,
            other => other.to_string(),
        };
        Self::new("lua", message)
    }
}

/// Makes a Lua function of `body` that neither panics nor raises.
pub(crate) fn guard<R: IntoLuaMulti>(
    call: &'static str,
    body: impl Fn(&Lua, &mut Args) -> Result<R, Failure>,
) -> impl Fn(&Lua, MultiValue) -> mlua::Result<MultiValue> {
    move |lua, values| {
        let attempt = AssertUnwindSafe(|| {
            let mut args = Args::new(lua, call, values);
            Ok(body(lua, &mut args)?.into_lua_multi(lua)?)
        });
        let failure = match catch_unwind(attempt) {
            Ok(Ok(results)) => return Ok(results),
            Ok(Err(failure)) => failure,
            Err(payload) => Failure::new("protocol", panic_message(call, payload.as_ref())),
        };
        // A hook that fails this is gone the second time, and its failure counts, not ours.
        failure
            .to_lua(lua)
            .or_else(|error| Failure::from(error).to_lua(lua))
    }
}

fn panic_message(call: &str, payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    format!("sockproc_native.{call} panicked: {text}")
}
