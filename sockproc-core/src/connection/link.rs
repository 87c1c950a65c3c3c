//! A socket on its way to a server: the one place that connects, and asks a full backlog again.

use std::time::Duration;

use super::socket::{Connecting, Socket};
use crate::{Address, Error};

#[derive(Debug)]
pub(super) struct Link {
    /// `None` if there was a connection from the start.
    address: Option<Address>,
    pub(super) socket: Socket,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// Not connected yet; if the backlog is full, the next attempt waits for so long.
    Unconnected {
        delay: Duration,
    },
    InProgress,
    Connected,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reached {
    Server,
    /// The socket becomes writable when it is decided.
    Nothing,
    /// The backlog is full: ask again after so long.
    Backlog(Duration),
}

impl Link {
    /// A socket that is not connected yet.
    pub(super) fn open(address: Address) -> Result<Self, Error> {
        match Socket::open(&address) {
            Ok(socket) => Ok(Self {
                address: Some(address),
                socket,
                phase: Phase::Unconnected { delay: FIRST_RETRY },
            }),
            Err(source) => Err(Error::Connect { address, source }),
        }
    }

    /// A connection that is there already, such as one end of a socket pair.
    pub(super) fn connected(socket: Socket) -> Self {
        Self {
            address: None,
            socket,
            phase: Phase::Connected,
        }
    }

    pub(super) fn address(&self) -> Option<&Address> {
        self.address.as_ref()
    }

    /// Another connection to the same server, to be made; `None` if this one was there from the start.
    pub(super) fn anew(&self) -> Option<Result<Self, Error>> {
        self.address.clone().map(Self::open)
    }

    pub(super) fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Connected)
    }

    /// Does what can be done without waiting; `is_writable` says whether the socket was found so.
    pub(super) fn connect(&mut self, is_writable: bool) -> Result<Reached, Error> {
        let Some(address) = &self.address else {
            return Ok(Reached::Server);
        };
        let reached = match &mut self.phase {
            Phase::Connected => Ok(Reached::Server),
            Phase::InProgress if !is_writable => Ok(Reached::Nothing),
            Phase::InProgress => self.socket.connect_result().map(|()| Reached::Server),
            Phase::Unconnected { delay } => self.socket.connect(address).map(|found| match found {
                Connecting::Connected => Reached::Server,
                Connecting::InProgress => Reached::Nothing,
                Connecting::BacklogFull => {
                    let now = *delay;
                    *delay = (now * 2).min(LAST_RETRY);
                    Reached::Backlog(now)
                }
            }),
        };
        match reached {
            Ok(Reached::Server) => self.phase = Phase::Connected,
            Ok(Reached::Nothing) => self.phase = Phase::InProgress,
            _ => {}
        }
        reached.map_err(|source| Error::Connect {
            address: address.clone(),
            source,
        })
    }
}

/// A full backlog is asked again after so long, then after twice that, …
pub(super) const FIRST_RETRY: Duration = Duration::from_millis(1);

/// … up to so long.
const LAST_RETRY: Duration = Duration::from_millis(50);
