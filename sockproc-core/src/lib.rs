//! Run commands for programs that must not block or fork.

pub mod address;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "server")]
mod process;
pub mod blocking;
#[cfg(feature = "client")]
pub mod client;
pub mod connection;
mod error;
pub mod proto;
#[cfg(any(feature = "server", feature = "client"))]
mod reactor;
#[cfg(feature = "server")]
pub mod server;

pub use address::{Address, AddressError};
pub use error::Error;
