//! Bodies of requests and answers, charged to the memory budget.
//!
//! [`request_body`] reads within the budget and the time limit, or drains. [`pending_bodies`] tracks
//! unfinished bodies and chooses which of them is evicted when memory is short. [`response_body`] writes
//! large answers in pieces.

pub(crate) mod pending_bodies;
pub(crate) mod request_body;
pub(crate) mod response_body;
