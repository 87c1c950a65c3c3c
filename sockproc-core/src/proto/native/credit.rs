//! How much stdin may be under way: counted alike on both sides.

use super::frame::MAX_DATA_LEN;
use crate::proto::ProtocolError;

/// Bytes of stdin that a client may send before it has heard of any credit.
pub const FIRST_WINDOW: u64 = 16_384;

/// Bytes of stdin that may be under way once the command runs.
pub const WINDOW: u64 = 64 * 1024;

/// From here on credit is returned while more of stdin waits for the command.
const WORTH_A_FRAME: u64 = 32 * 1024;

/// The client's end: what it may still send.
#[derive(Debug)]
pub(super) struct Credit(u64);

impl Credit {
    pub(super) fn new() -> Self {
        Self(FIRST_WINDOW)
    }

    /// The most that the next frame may carry.
    pub(super) fn left(&self) -> usize {
        usize::try_from(self.0).map_or(MAX_DATA_LEN, |left| left.min(MAX_DATA_LEN))
    }

    pub(super) fn add(&mut self, bytes: u64) {
        self.0 = self.0.saturating_add(bytes);
    }

    /// Charges a frame, whole.
    ///
    /// # Errors
    /// Ours: more than is [left](Self::left).
    pub(super) fn spend(&mut self, len: usize) -> Result<(), ProtocolError> {
        let credit = self.left();
        if len > credit {
            return Err(ProtocolError::StdinCredit { len, credit });
        }
        self.0 -= len as u64;
        Ok(())
    }
}

/// The server's end: what was granted, and what has become of it.
#[derive(Debug)]
pub(super) struct Window {
    /// The most that may be under way.
    size: u64,
    /// What that becomes at the start of the command.
    open_size: u64,
    /// All that the client was ever allowed to send.
    granted: u64,
    /// All that it has begun to send, each frame whole.
    charged: u64,
    /// All that is in the command's pipe, or thrown away.
    taken: u64,
    /// Whether a CREDIT frame waits to be written.
    pending: bool,
}

impl Window {
    pub(super) fn new() -> Self {
        Self {
            size: FIRST_WINDOW,
            open_size: WINDOW,
            granted: FIRST_WINDOW,
            charged: 0,
            taken: 0,
            pending: false,
        }
    }

    /// Charges a frame, whole.
    ///
    /// # Errors
    /// The peer's: more than it was granted.
    pub(super) fn charge(&mut self, len: usize) -> Result<(), ProtocolError> {
        let credit = self.granted - self.charged;
        let len = len as u64;
        if len > credit {
            return Err(ProtocolError::PastCredit { len, credit });
        }
        self.charged += len;
        Ok(())
    }

    /// Keeps it as it is at the start of the command.
    pub(super) fn stay_small(&mut self) {
        self.open_size = FIRST_WINDOW;
    }

    /// The command has been started.
    pub(super) fn open(&mut self) {
        self.size = self.open_size;
    }

    /// The command has got so much of what came.
    pub(super) fn take(&mut self, len: u64) {
        self.taken = self.taken.saturating_add(len).min(self.charged);
    }

    /// What was granted last has been written.
    pub(super) fn written(&mut self) {
        self.pending = false;
    }

    /// How much more to grant now, which is pending then; `None` while less than 32 KiB are owed
    /// and some of stdin waits for the command, or while a grant is pending.
    pub(super) fn grant(&mut self) -> Option<u64> {
        let owed = self.taken + self.size - self.granted;
        let drained = self.taken == self.charged;
        if owed == 0 || self.pending || !(drained || owed >= WORTH_A_FRAME) {
            return None;
        }
        self.granted += owed;
        self.pending = true;
        Some(owed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> Window {
        let mut window = Window::new();
        window.charge(16_384).unwrap();
        window.open();
        window
    }

    #[test]
    fn the_window_grows_at_the_start_whatever_waits_for_the_command() {
        let mut window = open();
        assert_eq!(window.grant(), Some(49_152));
        window.charge(49_152).unwrap();
        let error = ProtocolError::PastCredit { len: 1, credit: 0 };
        assert_eq!(window.charge(1), Err(error));
    }

    #[test]
    fn a_window_that_stays_small_returns_only_what_was_taken() {
        let mut window = Window::new();
        window.stay_small();
        window.charge(16_384).unwrap();
        window.open();
        assert_eq!(window.grant(), None);
        window.take(16_384);
        assert_eq!(window.grant(), Some(16_384));
    }

    #[test]
    fn credit_is_returned_in_halves_of_the_window_or_when_all_is_taken() {
        let mut window = open();
        assert_eq!(window.grant(), Some(49_152));
        window.written();
        window.charge(40_000).unwrap();
        window.take(32_767);
        assert_eq!(window.grant(), None);
        window.take(1);
        assert_eq!(window.grant(), Some(32_768));
        window.written();
        window.take(56_384 - 32_768);
        assert_eq!(window.grant(), Some(56_384 - 32_768));
    }

    #[test]
    fn one_grant_is_pending_at_most() {
        let mut window = open();
        assert_eq!(window.grant(), Some(49_152));
        window.take(16_384);
        assert_eq!(window.grant(), None);
        window.written();
        assert_eq!(window.grant(), Some(16_384));
    }

    #[test]
    fn a_client_cannot_send_past_its_credit_or_the_longest_frame() {
        let mut credit = Credit::new();
        credit.spend(16_384).unwrap();
        assert_eq!(credit.left(), 0);
        assert!(credit.spend(1).is_err());
        credit.add(u64::MAX);
        credit.add(1);
        assert_eq!(credit.left(), MAX_DATA_LEN);
    }
}
