//! The memory that requests take until they are started: one bound for all of them, and one for each user.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The most bytes of all requests that are not whole yet, or wait for room.
const MAX_LEN: usize = 64 * 1024 * 1024;

/// The most of one user.
const MAX_LEN_OF_ONE: usize = MAX_LEN / 4;

/// Whose requests they are; `None` for clients whose user the kernel does not tell.
pub(crate) type Owner = Option<u32>;

/// What all requests take; clones share it.
#[derive(Clone)]
pub(crate) struct Requests(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    len: usize,
    of_each: HashMap<Owner, usize>,
}

/// What one request takes, until dropped.
pub(crate) struct Charge {
    requests: Requests,
    owner: Owner,
    len: usize,
}

/// There is no room for more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoRoom;

impl Requests {
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    /// A request of which nothing has come yet.
    pub(crate) fn begin(&self, owner: Owner) -> Charge {
        Charge {
            requests: self.clone(),
            owner,
            len: 0,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Charge {
    /// Takes in that the request has `len` bytes now.
    pub(crate) fn set(&mut self, len: usize) -> Result<(), NoRoom> {
        let mut state = self.requests.lock();
        let before = self.len;
        let of_one = state.of_each.get(&self.owner).copied().unwrap_or(0);
        let (all, of_one) = (state.len - before + len, of_one - before + len);
        if len > before && (all > MAX_LEN || of_one > MAX_LEN_OF_ONE) {
            return Err(NoRoom);
        }
        state.len = all;
        if of_one == 0 {
            state.of_each.remove(&self.owner);
        } else {
            state.of_each.insert(self.owner, of_one);
        }
        self.len = len;
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let _ = self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_has_a_quarter_and_gives_it_back() {
        let requests = Requests::new();
        let (mut first, mut second) = (requests.begin(Some(1)), requests.begin(Some(1)));
        assert_eq!(first.set(MAX_LEN_OF_ONE), Ok(()));
        assert_eq!(second.set(1), Err(NoRoom));
        let mut other = requests.begin(Some(2));
        assert_eq!(other.set(MAX_LEN_OF_ONE), Ok(()));
        drop(first);
        assert_eq!(second.set(1), Ok(()));
        drop((second, other));
        assert!(requests.lock().len == 0 && requests.lock().of_each.is_empty());
    }

    #[test]
    fn all_users_together_have_no_more_than_there_is() {
        let requests = Requests::new();
        let mut charges: Vec<_> = (0..4).map(|user| requests.begin(Some(user))).collect();
        for charge in &mut charges {
            assert_eq!(charge.set(MAX_LEN_OF_ONE), Ok(()));
        }
        let mut fifth = requests.begin(None);
        assert_eq!(fifth.set(1), Err(NoRoom));
        assert_eq!(charges[0].set(MAX_LEN_OF_ONE - 1), Ok(()));
        assert_eq!(fifth.set(1), Ok(()));
    }
}
