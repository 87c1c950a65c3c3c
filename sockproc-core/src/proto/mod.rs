#![doc = include_str!("../../PROTOCOL.md")]

pub mod classic;
mod error;
mod event;
mod line;
mod refusal;
mod status;

pub use error::ProtocolError;
pub use event::{ClientEvent, Request, ServerEvent, Stream};
pub use refusal::{Refusal, RefusalKind};
pub use status::{ExitStatus, WaitStatus};
