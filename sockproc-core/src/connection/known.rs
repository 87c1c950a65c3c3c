//! What servers spoke when they were asked last.

use std::sync::RwLock;

use crate::Address;

/// What a client has found out about a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    Classic,
    Native,
}

/// What the server at `address` speaks, if that is known.
pub(super) fn recall(address: &Address) -> Option<Known> {
    let table = TABLE.try_read().ok()?;
    let found = table.iter().find(|(known, _)| known == address);
    found.map(|(_, known)| *known)
}

/// Keeps, or with `None` forgets, what the server at `address` speaks.
pub(super) fn remember(address: &Address, known: Option<Known>) {
    // Nearly always nothing changes, and readers do not get in each other's way.
    if recall(address) == known {
        return;
    }
    let Ok(mut table) = TABLE.try_write() else {
        return;
    };
    table.retain(|(other, _)| other != address);
    if let Some(known) = known {
        if table.len() == MAX_SERVERS {
            table.remove(0);
        }
        table.push((address.clone(), known));
    }
}

/// Never waited for: in a child that was forked while another thread held it, it is locked for ever. Who
/// cannot look asks the server.
static TABLE: RwLock<Vec<(Address, Known)>> = RwLock::new(Vec::new());

/// More servers than a program talks to; who is forgotten is asked again.
const MAX_SERVERS: usize = 64;
