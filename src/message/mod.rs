//! The domain: what a message is, what is said about it, and what follows from everything said.
//!
//! Pure: no I/O, no clock, no framework. A [`Record`] is a function of the set of a message's
//! [`Notification`]s, so that any order and any repetition of the same ones gives the same record.

mod id;
mod named;
mod notification;
mod provider;
mod record;
mod reference;
mod shown;
mod status;
mod text;
mod timestamp;

pub use id::{Destination, Identity, MessageId, NotADestination, NotAMessageId};
pub use notification::{Added, Kind, Notification, Statement};
pub use provider::{Provider, StatedProvider};
pub use record::{Arrival, Claim, Judged, Outcome, Rank, Record, Tier};
pub use reference::{MAX_REFERENCE_BYTES, Reference, ReferenceTooLong};
pub use shown::Shown;
pub use status::{Channel, Status, UnknownWord};
pub use text::{MAX_PROVIDER_ID_BYTES, MAX_TEXT_BYTES, cut};
pub use timestamp::{NotATime, Timestamp};

/// The most notifications a message may have; further ones are not judged any more.
pub const MAX_NOTIFICATIONS: u32 = 1_000;
