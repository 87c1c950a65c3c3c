//! How both sides find out which protocol a connection speaks.
//!
//! A client that wants frames begins with [`OPENING`]. A server that knows them answers
//! [`GREETING`] and both go on in frames. An older server takes the opening for a shell's comment, and
//! answers as the classic protocol does.

mod answer;
mod first_bytes;

pub use answer::{Answer, ClientOpening};
pub use first_bytes::{FirstBytes, refuse_version};

/// The version of the native protocol that this crate speaks.
pub const VERSION: u32 = 2;

/// What a client sends first.
pub const OPENING: &[u8] = b"#sockproc/2\r\n0\r\n";

/// What a server sends first, as soon as it has read an opening.
pub const GREETING: &[u8] = b"#sockproc/2\r\n";

/// What stands before the version, from both sides.
const BEGIN: &[u8] = b"#sockproc/";
