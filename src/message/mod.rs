//! Domain: messages, the notifications about them, and the record that follows from all notifications of a
//! message.
//!
//! Pure: no I/O, no clock, no framework. A [`Record`] is a function of the set of a message's
//! [`Notification`]s, so that any order and any repetition of the same ones gives the same record.
//!
//! # A join, not a state machine
//!
//! A [`Record`] is made of registers. Each register keeps the better of two claims; [`Rank`] defines the
//! order of claims. One notification is a record of its own; two records merge into a third. Merging is
//! commutative, associative and idempotent, which is the proof that order and repetition do not matter;
//! `tests/it/store/convergence.rs` tests it. A state machine that takes notifications as they arrive ends in
//! different states for most sets.
//!
//! The [`Outcome`] of a delivery depends on the order of arrival, so it is kept in the history only.
//! Registrations are ordered by arrival: the store makes a later registration arrive later, even if the clock
//! was set back, so the last one wins.

mod id;
mod notification;
mod number_matcher;
mod provider;
mod record;
mod reference;
mod status;
mod text_limits;
mod timestamp;
mod view;

pub use self::id::{Destination, Identity, MessageId, NotADestination, NotAMessageId};
pub use self::notification::{Added, Kind, MAX_NOTIFICATIONS, Notification, Statement};
pub use self::provider::{Provider, StatedProvider};
pub use self::record::{AcceptanceTimes, Claim, Judged, Outcome, Rank, Record, Tier};
pub use self::reference::{MAX_REFERENCE_BYTES, Reference, ReferenceTooLong};
pub use self::status::{Channel, Status, UnknownWord};
pub use self::text_limits::{MAX_PROVIDER_ID_BYTES, MAX_TEXT_BYTES, cut};
pub use self::timestamp::{NotATime, Timestamp};
pub use self::view::Shown;
