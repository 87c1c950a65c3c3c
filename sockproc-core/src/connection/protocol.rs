//! Which protocol a run is asked for by.

/// The protocol that a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Protocol {
    /// The native one where the server speaks it, else the classic one.
    ///
    /// The first run on a server asks it, which takes one round trip and, with a classic server, one
    /// connection more. The answer is remembered for the address.
    #[default]
    Auto,
    /// The protocol of the C daemon.
    Classic,
    /// The protocol of frames; a server that does not speak it is an error.
    Native,
}
