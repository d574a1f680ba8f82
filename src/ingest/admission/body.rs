//! Bodies in memory, with their reservation in the memory budget.

use crate::memory_budget::{Reservation, Share};

/// Maximum size of all bodies in memory, in bytes: those being read and those waiting for the commit.
pub const BODY_BUDGET: usize = Share::Bodies.limit();

/// Body, with its reservation for as long as it is in memory.
pub struct Body {
    /// Bytes of the body.
    pub content: Vec<u8>,
    /// Reservation in the memory budget.
    pub bytes: Reservation,
}
