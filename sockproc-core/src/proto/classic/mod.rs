//! The protocol of the C daemon: one request and one reply a connection.
//!
//! `<command>\r\n<stdin length>\r\n<stdin>` is answered by
//! `status:<wait status>\r\n<n>\r\n<stdout><m>\r\n<stderr>`.

mod client;
mod count;
mod quote;
mod server;

pub use client::ClientSession;
pub use quote::{QuoteError, exec_line};
pub use server::{ServerSession, note};

/// The longest command, in bytes: Linux takes no argument of more than 131,072 with its NUL
/// (`MAX_ARG_STRLEN`, execve(2)).
pub const MAX_COMMAND_LEN: usize = 131_071;

/// The longest line that holds a number. The C daemon's buffer left a count some 2,000 bytes.
const MAX_COUNT_LINE_LEN: usize = 4096;

/// The longest line of a reply: `status:`, a sign and the digits of an `int` fit easily.
const MAX_REPLY_LINE_LEN: usize = 64;
