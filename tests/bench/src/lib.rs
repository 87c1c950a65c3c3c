//! What the benchmark programs share: a cheap client, a closed loop, a server to start and stop, a table.
//!
//! `README.md` beside this crate says how the figures come about and how to read them.

pub mod client;
pub mod load;
pub mod report;
pub mod server;
pub mod workload;
