//! The native protocol, spoken to a real server by a session and a raw connection.

mod bad_input;
pub(crate) mod client;
mod descriptors;
mod disconnect;
mod hostile;
mod limits;
mod linger;
mod on_time;
mod opening;
mod overload;
mod signals;
mod start;
mod streams;
