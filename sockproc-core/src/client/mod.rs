//! Runs commands from tokio: `AsyncFd` around a [`Connection`], names of `tokio::process`.
//!
//! ```no_run
//! use sockproc_core::client::Command;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), sockproc_core::Error> {
//! let output = Command::new("sort").arg("-n").stdin("2\n1\n").output().await?;
//! assert_eq!(output.stdout, b"1\n2\n");
//! # Ok(())
//! # }
//! ```

mod command;
mod drive;

use std::time::Duration;

use crate::connection::{Connection, Output, Stdin};
use crate::proto::Request;
use crate::{Address, Error};

pub use command::Command;
pub use drive::drive;

/// Runs commands on one server; cheap to clone, and each run is independent.
#[derive(Debug, Clone)]
pub struct Client {
    address: Address,
    timeout: Option<Duration>,
    max_output: u64,
}

impl Client {
    /// A client of the server at `address`; connecting is left to each run.
    #[must_use]
    pub fn new(address: Address) -> Self {
        Self {
            address,
            timeout: None,
            max_output: u64::MAX,
        }
    }

    /// A client of the server that `$SOCKPROC_SOCKET` names.
    ///
    /// # Errors
    /// [`Error::NoServer`] if it names none, [`Error::Address`] if it is no address.
    pub fn from_env() -> Result<Self, Error> {
        Address::or_from_env(None).map(Self::new)
    }

    /// Gives a run up after `timeout`, connecting included; without it a run may take for ever.
    ///
    /// The classic protocol does not end the command: the server's options say what becomes of it.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Takes at most `limit` bytes of output a run, both streams together; without it there is no
    /// limit.
    #[must_use]
    pub fn max_output(mut self, limit: u64) -> Self {
        self.max_output = limit;
        self
    }

    /// Runs `command` by `/bin/sh -c`, and returns when it has ended.
    ///
    /// # Errors
    /// There is no result; [`Error::may_have_run`] says whether the command may have run.
    ///
    /// # Cancel safety
    /// Dropping the future gives the run up: the server sees at once that this client has gone. The
    /// classic protocol does not end a command whose whole request was sent: the server's options
    /// say what becomes of it.
    pub async fn run(
        &self,
        command: impl Into<Request>,
        stdin: impl Into<Stdin>,
    ) -> Result<Output, Error> {
        let run: Connection = Connection::new(self.address.clone(), command, stdin)?;
        drive(run.max_output(self.max_output), self.timeout).await
    }
}
