//! Where what the server says goes.

use std::io::{self, Read, Take};

use crate::Error;
use crate::proto::{ClientEvent, Limits, Stream};

/// What becomes of a run's events: [`Collected`](super::Collected) output, or
/// [`Events`](super::Events) as they come.
pub trait Receiver: Default {
    /// What is known when the run is over.
    type Outcome;

    /// Takes the next event.
    ///
    /// # Errors
    /// The run has failed.
    fn receive(&mut self, event: ClientEvent) -> Result<(), Error>;

    /// Takes the next bytes of a stream straight from the socket, once or until it has no more. Every
    /// byte taken from `source` counts as received.
    ///
    /// # Errors
    /// What `source` returned, `WouldBlock` too.
    fn read_from(&mut self, stream: Stream, source: &mut Take<&mut dyn Read>) -> io::Result<()>;

    /// Learns of the limits of the run before it begins.
    fn limit(&mut self, _limits: &Limits) {}

    /// Hands over everything; the run is over.
    ///
    /// # Errors
    /// The server has ended it at one of its `limits`.
    fn finish(&mut self, limits: &Limits) -> Result<Self::Outcome, Error>;

    /// What has come of a stream so far, to be shown in an error.
    fn so_far(&self, _stream: Stream) -> &[u8] {
        &[]
    }
}
