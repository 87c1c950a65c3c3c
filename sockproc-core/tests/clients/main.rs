//! The Rust clients: against real servers, hostile ones, and whole exchanges on paper.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod auto;
mod bulk;
mod cancel;
mod child;
mod conformance;
mod connect;
mod corpora;
mod embedded;
mod frames;
mod hostile;
mod native;
mod native_peer;
mod native_server;
mod quote;
mod receivers;
#[path = "../../fuzz/replay.rs"]
mod replay;
#[path = "../../fuzz/replay_native.rs"]
mod replay_native;
mod sessions;
mod stub;
mod support;
mod vectors;
