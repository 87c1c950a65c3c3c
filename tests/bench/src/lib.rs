//! What the benchmark programs share: a cheap client, a closed loop, crowds of good and bad
//! clients, a server to start and stop, a table.
//!
//! `README.md` beside this crate says how the figures come about and how to read them.

pub mod client;
pub mod crowd;
pub mod disk;
pub mod flood;
pub mod load;
pub mod native;
pub mod report;
pub mod scene;
pub mod server;
pub mod stage;
pub mod workload;
