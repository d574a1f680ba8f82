//! Ingest: verify, read and store deliveries, in this order and for every source alike.
//!
//! Knows neither HTTP nor SQL. [`pipeline`] holds the state and stores a delivery within the deadline. What
//! enters: a webhook ([`accept`]), a registration ([`register`]), a quarantined entry that is read again
//! ([`replay`]), an erasure ([`erase`]). [`mod@admission`] rejects a delivery without work where it can.
//! [`late_retry`] recognises a delivery that is too old to verify but stored already. [`outcome`] converts
//! the results of entries, [`rejection`] has the reasons for rejecting a whole delivery, [`counting`] their
//! metric labels. [`detached`] finishes work although its client has left. [`readiness`] is what a probe asks.

pub(crate) mod accept;
pub(crate) mod admission;
pub(crate) mod counting;
pub(crate) mod detached;
pub(crate) mod erase;
pub(crate) mod late_retry;
pub(crate) mod outcome;
pub(crate) mod pipeline;
pub(crate) mod readiness;
pub(crate) mod register;
pub(crate) mod rejection;
pub(crate) mod replay;

pub use self::accept::Posted;
pub use self::admission::body::{BODY_BUDGET, Body};
pub use self::admission::shutdown::ShutdownSignal;
pub use self::admission::slots::Slots;
pub use self::outcome::EntryResult;
pub use self::pipeline::{COMMIT_DEADLINE, Ingest};
pub use self::rejection::Rejection;
