//! A socket on its way to a server: the one place that connects, and asks a full backlog again.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use super::socket::{Connecting, Socket};
use crate::embedded::{Handed, Helper};
use crate::{Address, Error};

#[derive(Debug)]
pub(super) struct Link {
    to: To,
    pub(super) socket: Socket,
    phase: Phase,
}

#[derive(Debug)]
enum To {
    Address(Address),
    Helper {
        helper: Arc<Helper>,
        /// The helper's end of the connection, until it is handed over.
        its: Option<OwnedFd>,
    },
    /// There was a connection from the start.
    Peer,
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
                to: To::Address(address),
                socket,
                phase: Phase::Unconnected { delay: FIRST_RETRY },
            }),
            Err(source) => Err(Error::Connect { address, source }),
        }
    }

    /// A connection that is to be handed to the helper.
    pub(super) fn to_helper(helper: Arc<Helper>) -> Result<Self, Error> {
        let pair = UnixStream::pair().and_then(|(ours, its)| {
            its.set_nonblocking(true)?;
            Ok((Socket::from_connected(ours.into())?, its.into()))
        });
        let (socket, its) = pair.map_err(Error::Descriptor)?;
        Ok(Self {
            to: To::Helper {
                helper,
                its: Some(its),
            },
            socket,
            phase: Phase::Unconnected { delay: FIRST_RETRY },
        })
    }

    /// A connection that is there already, such as one end of a socket pair.
    pub(super) fn connected(socket: Socket) -> Self {
        Self {
            to: To::Peer,
            socket,
            phase: Phase::Connected,
        }
    }

    pub(super) fn address(&self) -> Option<&Address> {
        match &self.to {
            To::Address(address) => Some(address),
            To::Helper { .. } | To::Peer => None,
        }
    }

    pub(super) fn helper(&self) -> Option<&Arc<Helper>> {
        match &self.to {
            To::Helper { helper, .. } => Some(helper),
            To::Address(_) | To::Peer => None,
        }
    }

    /// Another connection to the same address, to be made; `None` if this one has none.
    pub(super) fn anew(&self) -> Option<Result<Self, Error>> {
        self.address().cloned().map(Self::open)
    }

    pub(super) fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Connected)
    }

    /// Does what can be done without waiting; `is_writable` says whether the socket was found so.
    pub(super) fn connect(&mut self, is_writable: bool) -> Result<Reached, Error> {
        let connecting = match &mut self.phase {
            Phase::Connected => return Ok(Reached::Server),
            Phase::InProgress if !is_writable => return Ok(Reached::Nothing),
            Phase::InProgress => {
                let result = self.socket.connect_result();
                result.map(|()| Connecting::Connected)
            }
            Phase::Unconnected { .. } => self.to.connect(&self.socket),
        };
        let connecting = connecting.map_err(|source| self.to.failed(source))?;
        Ok(match (connecting, &mut self.phase) {
            (Connecting::BacklogFull, Phase::Unconnected { delay }) => {
                let now = *delay;
                *delay = (now * 2).min(LAST_RETRY);
                Reached::Backlog(now)
            }
            (Connecting::Connected, phase) => {
                *phase = Phase::Connected;
                Reached::Server
            }
            (_, phase) => {
                *phase = Phase::InProgress;
                Reached::Nothing
            }
        })
    }
}

impl To {
    fn connect(&mut self, socket: &Socket) -> io::Result<Connecting> {
        match self {
            Self::Address(address) => socket.connect(address),
            Self::Helper { helper, its } => {
                let handed = match &its {
                    Some(end) => helper.hand_over(end.as_fd())?,
                    None => Handed::Over,
                };
                match handed {
                    Handed::Over => {
                        *its = None;
                        Ok(Connecting::Connected)
                    }
                    Handed::Full => Ok(Connecting::BacklogFull),
                    Handed::Gone => Err(io::ErrorKind::BrokenPipe.into()),
                }
            }
            Self::Peer => Ok(Connecting::Connected),
        }
    }

    fn failed(&self, source: io::Error) -> Error {
        match self {
            Self::Address(address) => Error::Connect {
                address: address.clone(),
                source,
            },
            Self::Helper { .. } | Self::Peer => Error::Disconnected {
                sent: false,
                source,
            },
        }
    }
}

/// A full backlog is asked again after so long, then after twice that, …
pub(super) const FIRST_RETRY: Duration = Duration::from_millis(1);

/// … up to so long.
const LAST_RETRY: Duration = Duration::from_millis(50);
