//! Run commands for programs that must not block or fork.

pub mod address;
pub mod blocking;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
pub mod connection;
mod error;
#[cfg(feature = "server")]
mod process;
pub mod proto;
#[cfg(any(feature = "server", feature = "client"))]
mod reactor;
#[cfg(feature = "server")]
pub mod server;

pub use address::{Address, AddressError};
pub use error::Error;
