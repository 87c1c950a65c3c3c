//! Run commands for programs that must not block or fork.
//!
//! A `sockproc` server runs shell command lines for whoever connects to its socket, and answers with
//! wait status, stdout and stderr. The caller never forks, so a call costs the same whatever the
//! caller's size; a command's own failure is a result, not an error.
//!
//! ```
//! use std::time::Duration;
//!
//! use sockproc_core::blocking::Client;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let server = sockproc_core::Address::unix(dir.path().join("sock"))?;
//! # let _server = serve(&server)?;
//! # let server = server.to_string(); // such as "/run/sockproc.sock" or "127.0.0.1:13000"
//! let client = Client::new(server.parse()?)
//!     .timeout(Duration::from_secs(10))
//!     .max_output(1 << 20);
//!
//! let output = client.run("sort -n; echo sorted >&2; exit 3", "10\n9\n")?;
//! assert_eq!(output.stdout, b"9\n10\n");
//! assert_eq!(output.stderr, b"sorted\n");
//! assert_eq!(output.status.code(), Some(3));
//!
//! // Words from strangers are arguments, not parts of a command line.
//! let output = client.run_argv(["echo", "$(reboot)", "it's"], "")?;
//! assert_eq!(output.stdout, b"$(reboot) it's\n");
//!
//! // An error says whether asking again could run the command twice.
//! let error = client.run("yes | head -c 2M", "").unwrap_err();
//! assert!(error.may_have_run());
//! let error = Client::new("/nonexistent".parse()?).run("true", "").unwrap_err();
//! assert!(!error.may_have_run());
//! # Ok(())
//! # }
//! # fn serve(address: &sockproc_core::Address) -> Result<impl Drop, Box<dyn std::error::Error>> {
//! #     use sockproc_core::server::{Config, Listener, Server, SocketOptions};
//! #     use std::future::pending;
//! #     let runtime = tokio::runtime::Runtime::new()?;
//! #     let listener = Listener::bind(address, &SocketOptions::default())?;
//! #     let server = Server::new(Config::default())?;
//! #     runtime.spawn(server.run(vec![listener], pending(), pending()));
//! #     struct Running(Option<tokio::runtime::Runtime>);
//! #     impl Drop for Running {
//! #         fn drop(&mut self) {
//! #             self.0.take().map(tokio::runtime::Runtime::shutdown_background);
//! #         }
//! #     }
//! #     Ok(Running(Some(runtime)))
//! # }
//! ```
//!
//! - [`blocking`] runs commands from ordinary code, [`client`] from tokio.
//! - [`connection`] is what both are made of: one run, for any event loop that can wait for a descriptor.
//! - [`proto`] is the wire format, without any I/O.
//! - [`server`] runs the commands, and [`cli`] is the `sockproc` binary around it.
//!
//! `blocking`, `connection` and `proto` need no feature of this crate.

mod address;
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
#[cfg(feature = "server")]
mod threads;

pub use address::{Address, AddressError, AddressKind};
pub use error::Error;
