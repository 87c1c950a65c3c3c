//! A server, and limits that count for each run on it.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use bytes::Bytes;

use super::limits::millis;
use crate::connection::{Connection, Destination, Plan, Protocol};
use crate::proto::Request;
use crate::{Address, Error, Stdin};

/// Runs commands on one server; cheap to clone, may be shared between threads, and each run is
/// independent.
pub struct Client<D> {
    destination: Destination,
    protocol: Protocol,
    token: Option<Bytes>,
    timeout: Option<Duration>,
    max_output: Option<u64>,
    driver: PhantomData<fn() -> D>,
}

impl<D> Client<D> {
    /// A client of the server at `address`; connecting is left to each run.
    #[must_use]
    pub fn new(address: Address) -> Self {
        Self::of(address.into())
    }

    /// A client of the [private helper](crate::embedded) of this process, which its first run starts.
    #[must_use]
    pub fn embedded() -> Self {
        Self::of(Destination::Embedded)
    }

    fn of(destination: Destination) -> Self {
        Self {
            destination,
            protocol: Protocol::Auto,
            token: None,
            timeout: None,
            max_output: None,
            driver: PhantomData,
        }
    }

    /// A client of the server that `$SOCKPROC_SOCKET` names; if it is not set, one of the
    /// [private helper](crate::embedded).
    ///
    /// # Errors
    /// [`Error::Address`] if it holds no address.
    pub fn from_env() -> Result<Self, Error> {
        Destination::or_default(None).map(Self::of)
    }

    /// Asks by this protocol; without it [`Protocol::Auto`] finds one.
    #[must_use]
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// Shows the server this token, where it wants one: what its `--token-file` holds. Without it the
    /// server that `$SOCKPROC_SOCKET` names is shown what is in the file that `$SOCKPROC_TOKEN_FILE`
    /// names.
    #[must_use]
    pub fn token(mut self, token: impl Into<Bytes>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Ends a run when it has taken `timeout`; without it a run may take for ever.
    ///
    /// A native server counts from the start of the command, and ends it with its whole tree. On the
    /// classic protocol the client gives up, connecting included, and the server's options say what
    /// becomes of the command.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Takes at most `limit` bytes of output a run, both streams together; without it there is no
    /// limit.
    #[must_use]
    pub fn max_output(mut self, limit: u64) -> Self {
        self.max_output = Some(limit);
        self
    }

    /// The connection of a run, and how long it may take.
    pub(crate) fn collect(
        &self,
        mut request: Request,
        stdin: Stdin,
    ) -> Result<(Connection, Option<Duration>), Error> {
        request.token.clone_from(&self.token);
        request.limits.timeout = self.timeout.map(millis);
        request.limits.max_output = self.max_output;
        let plan = Plan::new(request, self.protocol);
        let run = Connection::begin(self.destination.clone(), plan, stdin, Vec::new())?;
        Ok((run, self.timeout))
    }
}

impl<D> fmt::Debug for Client<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("destination", &self.destination)
            .field("protocol", &self.protocol)
            .field("timeout", &self.timeout)
            .field("max_output", &self.max_output)
            .finish()
    }
}

impl<D> Clone for Client<D> {
    fn clone(&self) -> Self {
        Self {
            destination: self.destination.clone(),
            token: self.token.clone(),
            ..*self
        }
    }
}
