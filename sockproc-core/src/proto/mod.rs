#![doc = include_str!("../../PROTOCOL.md")]

mod argv;
pub mod classic;
mod error;
mod event;
mod exit;
mod limits;
mod line;
pub mod native;
pub mod opening;
mod refusal;
mod request;
mod status;
#[cfg(test)]
mod transcript;

pub use argv::{Argv, ArgvError, Invocation};
pub use error::ProtocolError;
pub use event::{ClientEvent, ServerEvent, SignalTo, Stream};
pub use exit::{EndedBy, Exit, Moved, Reach};
pub use limits::{Limits, Millis, PastMax};
pub use refusal::{Refusal, RefusalKind};
pub use request::{Environment, Identity, OnDisconnect, Request, StreamMode};
pub use status::{ExitStatus, WaitStatus};
