//! Admission: the bounds on what is under way, checked before work is done.
//!
//! [`slots`] limit the number of deliveries, [`delivery`] charges one to the bounds on memory and on waiting
//! entries, [`body`] holds bytes with their reservation. [`turn`] lets a worker verify one large delivery at a
//! time. After the [`shutdown`] signal no delivery is admitted.
//!
//! # Bounds come before work
//!
//! Slots are the same for every store, and are checked before a signature is verified. A body above 16 KiB
//! waits for its [`turn`]: to verify and read 50 kB takes much longer than a query, and large bodies that are
//! complete at once would follow one another without a look at the socket of a query.

pub(crate) mod body;
pub(crate) mod delivery;
pub(crate) mod shutdown;
pub(crate) mod slots;
pub(crate) mod turn;
