//! Which server a run goes to.

use crate::{Address, Error};

/// Where a [`Connection`](super::Connection) leads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Destination {
    /// To the server at this address.
    Address(Address),
    /// To the [private helper](crate::embedded) of this process.
    Embedded,
}

impl Destination {
    /// The server that is named, else the one that `$SOCKPROC_SOCKET` names, else the private helper.
    ///
    /// # Errors
    /// [`Error::Address`] if the variable holds no address.
    pub fn or_default(named: Option<Address>) -> Result<Self, Error> {
        let address = match named {
            Some(address) => Some(address),
            None => Address::from_env()?,
        };
        Ok(address.into())
    }
}

impl From<Address> for Destination {
    fn from(address: Address) -> Self {
        Self::Address(address)
    }
}

/// `None` is the private helper.
impl From<Option<Address>> for Destination {
    fn from(address: Option<Address>) -> Self {
        address.map_or(Self::Embedded, Self::Address)
    }
}
