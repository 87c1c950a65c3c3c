//! The protocol of frames: output as it comes, argument vectors, limits, signals, and descriptors that
//! pass by.
//!
//! Its opening, which tells it from the classic protocol, is in [`opening`](super::opening).

mod client;
mod credit;
mod field;
mod frame;
mod message;
mod record;
#[cfg(test)]
mod refusals;
mod run;
mod server;
mod state;
mod value;

pub use client::ClientSession;
pub use credit::{FIRST_WINDOW, WINDOW};
pub use frame::{HEADER_LEN, MAX_CONTROL_LEN, MAX_DATA_LEN, MAX_RUN_LEN};
pub use run::MAX_DESCRIPTORS;
pub use server::ServerSession;
