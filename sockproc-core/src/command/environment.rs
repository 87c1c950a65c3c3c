//! What changes in the environment of a command.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use bytes::Bytes;

use crate::proto;

/// As `std::process::Command` keeps them: the last word on a variable counts.
#[derive(Debug, Default)]
pub(super) struct Changes {
    is_cleared: bool,
    /// `None`: it is taken away.
    variables: BTreeMap<OsString, Option<OsString>>,
}

impl Changes {
    pub(super) fn set(&mut self, name: &OsStr, value: &OsStr) {
        self.variables
            .insert(name.to_owned(), Some(value.to_owned()));
    }

    pub(super) fn unset(&mut self, name: &OsStr) {
        match self.is_cleared {
            true => self.variables.remove(name),
            false => self.variables.insert(name.to_owned(), None),
        };
    }

    pub(super) fn clear(&mut self) {
        self.is_cleared = true;
        self.variables.clear();
    }

    pub(super) fn to_request(&self) -> proto::Environment {
        let mut environment = proto::Environment {
            is_cleared: self.is_cleared,
            ..proto::Environment::default()
        };
        for (name, value) in &self.variables {
            match value {
                Some(value) => {
                    let bytes = [name.as_bytes(), b"=", value.as_bytes()].concat();
                    environment.set.push(bytes.into());
                }
                None => environment
                    .unset
                    .push(Bytes::copy_from_slice(name.as_bytes())),
            }
        }
        environment
    }
}
