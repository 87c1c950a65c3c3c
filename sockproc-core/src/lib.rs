//! Run commands for programs that must not block or fork.

pub mod address;
pub mod proto;

pub use address::{Address, AddressError};
