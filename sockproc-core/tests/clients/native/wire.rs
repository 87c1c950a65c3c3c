//! A socket with little room.

use std::collections::VecDeque;

/// What a socket holds between two drivers.
const ROOM: usize = 3000;

/// One direction of a connection, which may break at any byte.
#[derive(Debug)]
pub(super) struct Wire {
    bytes: VecDeque<u8>,
    /// How many bytes still get through; `None`: all.
    pub(super) lasts: Option<usize>,
}

impl Wire {
    pub(super) fn new(lasts: Option<usize>) -> Self {
        let bytes = VecDeque::new();
        Self { bytes, lasts }
    }

    pub(super) fn has_room(&self) -> bool {
        self.bytes.len() < ROOM
    }

    pub(super) fn write(&mut self, bytes: &[u8]) {
        let len = self
            .lasts
            .map_or(bytes.len(), |lasts| lasts.min(bytes.len()));
        if let Some(lasts) = &mut self.lasts {
            *lasts -= len;
        }
        self.bytes.extend(&bytes[..len]);
    }

    /// Whether its writer has died, as its reader sees it.
    pub(super) fn is_at_end(&self) -> bool {
        self.lasts == Some(0) && self.bytes.is_empty()
    }

    pub(super) fn read(&mut self, most: usize) -> Vec<u8> {
        self.bytes.drain(..most.min(self.bytes.len())).collect()
    }
}
