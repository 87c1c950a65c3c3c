//! Run commands for programs that must not block or fork.
//!
//! A `sockproc` server runs commands for whoever connects to its socket, and answers with their exit
//! status, stdout and stderr. The caller never forks, so a call costs the same whatever the caller's
//! size; a command's own failure is a result, not an error.
//!
//! # Run
//!
//! [`blocking`] and [`client`] (for tokio) have the names of `std::process` and `tokio::process`:
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let server = sockproc_core::Address::unix(dir.path().join("sock"))?;
//! # let _server = serve(&server)?;
//! use sockproc_core::blocking::Command;
//!
//! // Without `server` it is the one that $SOCKPROC_SOCKET names, else a private helper.
//! let output = Command::new("echo").args(["$(reboot)", "it's"]).server(server.clone()).output()?;
//! assert_eq!(output.stdout, b"$(reboot) it's\n"); // no shell looks at these words
//!
//! let status = Command::shell("exit 3").server(server).status()?;
//! assert_eq!(status.code(), Some(3));
//!
//! // An error says whether asking again could run the command twice.
//! let error = Command::new("true").server("/nonexistent/sock".parse()?).output().unwrap_err();
//! assert!(!error.may_have_run());
//! # Ok(())
//! # }
//! # fn serve(
//! #     address: &sockproc_core::Address,
//! # ) -> Result<impl Drop + use<>, Box<dyn std::error::Error>> {
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
//! # Stream in
//!
//! A file of any size is read in pieces while it is sent:
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let server = sockproc_core::Address::unix(dir.path().join("sock"))?;
//! # let _server = serve(&server)?;
//! use std::fs::File;
//! use std::time::Duration;
//!
//! use sockproc_core::{Stdin, blocking::Client};
//!
//! let client = Client::new(server).timeout(Duration::from_secs(10)).max_output(1 << 20);
//! let file = Stdin::from_file(File::open("/etc/passwd")?)?;
//! let output = client.run("grep -c ^root:; echo counted >&2", file)?;
//! assert_eq!(output.stdout, b"1\n");
//! assert_eq!(output.stderr, b"counted\n");
//! # Ok(())
//! # }
//! # fn serve(
//! #     address: &sockproc_core::Address,
//! # ) -> Result<impl Drop + use<>, Box<dyn std::error::Error>> {
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
//! # Serve
//!
//! ```no_run
//! # #[cfg(feature = "server")]
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! use std::future::pending;
//!
//! use sockproc_core::server::{Config, Listener, Server, SocketOptions};
//!
//! let address = "/run/sockproc.sock".parse()?;
//! let listener = Listener::bind(&address, &SocketOptions::default())?;
//! let stop = async { drop(tokio::signal::ctrl_c().await) };
//! Server::new(Config::default())?.run(vec![listener], stop, pending()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # The parts
//!
//! - [`blocking`] runs commands from ordinary code, [`client`] from tokio; [`command`] is their builder.
//! - [`server`] runs the commands, and [`cli`] is the `sockproc` binary around it.
//! - [`embedded`] is the private helper of a process that names no server.
//! - [`connection`] is what both clients are made of: one run, for any event loop that can wait for a
//!   descriptor.
//! - [`proto`] is the wire format, without any I/O.
//!
//! `blocking`, `connection`, `embedded` and `proto` need no feature of this crate.

mod address;
pub mod blocking;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
pub mod command;
pub mod connection;
pub mod embedded;
mod error;
#[cfg(feature = "server")]
mod process;
pub mod proto;
#[cfg(any(feature = "server", feature = "client"))]
mod reactor;
#[cfg(feature = "server")]
pub mod server;
mod stdin;
#[cfg(feature = "server")]
mod threads;
mod token;

pub use address::{Address, AddressError, AddressKind};
pub use command::Stdio;
pub use connection::{Output, Protocol};
pub use error::Error;
pub use proto::ExitStatus;
pub use stdin::Stdin;
pub use token::{Token, TokenError};
