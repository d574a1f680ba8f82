//! Bodies in memory, with their part of the memory budget.

use crate::budget::{Reservation, Share};

/// How many bytes of bodies may be in memory at a time, being read or waiting for the commit.
pub const BODY_BUDGET: usize = Share::Bodies.limit();

/// A body, and its reservation for as long as it is in memory.
pub struct Body {
    /// The body's bytes.
    pub content: Vec<u8>,
    /// Its part of the budget.
    pub bytes: Reservation,
}
