//! Ingest: verify, read and store deliveries, in this order and for every source alike.
//!
//! Knows neither HTTP nor SQL. [`accept`] is the pipeline. [`admission`] charges a delivery to the bounds on
//! memory and on waiting entries; a delivery that can be rejected without work is rejected first. [`outcome`]
//! joins the results of entries. [`replay`] reads quarantined entries again, [`late_retry`] recognises a
//! delivery that is too old to verify but stored already. [`turn`] lets a worker verify one large delivery at
//! a time, [`detached`] finishes work although its client has left, [`shutdown`] is the signal that no
//! delivery is accepted any more.
//!
//! # Bounds come before work
//!
//! Admission is a semaphore, the same for every store, and is checked before a signature is verified. A body
//! above 16 KiB waits for its [`turn`]: to verify and read 50 kB takes much longer than a query, and large
//! bodies that are complete at once would follow one another without a look at the socket of a query.

pub(crate) mod accept;
pub(crate) mod admission;
pub(crate) mod body;
pub(crate) mod counting;
pub(crate) mod detached;
pub(crate) mod late_retry;
pub(crate) mod outcome;
pub(crate) mod rejection;
pub(crate) mod replay;
pub(crate) mod shutdown;
pub(crate) mod turn;

pub use self::accept::{COMMIT_DEADLINE, Ingest, Posted};
pub use self::body::{BODY_BUDGET, Body};
pub use self::outcome::EntryResult;
pub use self::rejection::Rejection;
pub use self::shutdown::Closing;
