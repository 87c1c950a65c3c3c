#![doc = include_str!("../../PROTOCOL.md")]

pub mod classic;
mod error;
mod event;
mod exit;
mod line;
pub mod native;
pub mod opening;
mod refusal;
mod request;
mod status;
#[cfg(test)]
mod transcript;

pub use error::ProtocolError;
pub use event::{ClientEvent, ServerEvent, SignalTo, Stream};
pub use exit::{EndedBy, Exit, Moved, Reach};
pub use refusal::{Refusal, RefusalKind};
pub use request::{
    Argv, ArgvError, Environment, Identity, Invocation, Limits, Millis, OnDisconnect, PastMax,
    Request, StreamMode,
};
pub use status::{ExitStatus, WaitStatus};
