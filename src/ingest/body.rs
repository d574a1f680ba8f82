//! Bodies in memory, and what they may take of it together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Refusal;

/// How many bytes of bodies may be in memory at a time, being read or waiting for the commit.
pub const BODY_BUDGET: usize = 64 << 20;

/// A body, and its share of the budget for as long as it is in memory.
pub struct Body {
    /// The body's bytes.
    pub content: Vec<u8>,
    /// Its share.
    pub bytes: Bytes,
}

/// Bytes taken from the budget, given back when dropped.
#[derive(Debug)]
pub struct Bytes {
    budget: Arc<AtomicUsize>,
    taken: usize,
}

impl Bytes {
    /// None yet of this budget.
    pub(super) fn of(budget: &Arc<AtomicUsize>) -> Self {
        Self { budget: Arc::clone(budget), taken: 0 }
    }

    /// Takes so many more.
    pub fn take(&mut self, more: usize) -> Result<(), Refusal> {
        let before = self.budget.fetch_add(more, Ordering::Relaxed);
        self.taken += more;
        if before + more > BODY_BUDGET { Err(Refusal::Overloaded) } else { Ok(()) }
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        self.budget.fetch_sub(self.taken, Ordering::Relaxed);
    }
}
