//! Change feed: the changes of records, in the order of their commits.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::message::{Destination, Record, Shown, Status};

/// Bits of an event id that hold the number of the change.
const NUMBER_BITS: u32 = 40;

/// Id of a change, unique across restores: the lineage of the database and the number of the change within
/// it. Ids are below 2^53, so that every JSON reader keeps them exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventId(i64);

impl EventId {
    /// Id of the change with this number in a database of this lineage.
    pub fn new(lineage: u32, number: i64) -> Self {
        Self((i64::from(lineage) << NUMBER_BITS).saturating_add(number))
    }

    /// Reads an id sent by a client; none if negative.
    pub fn from_i64(id: i64) -> Option<Self> {
        (id >= 0).then_some(Self(id))
    }

    /// Number of the change, if the id belongs to this lineage. Id 0 precedes the first change of every
    /// lineage.
    pub fn number(self, lineage: u32) -> Option<i64> {
        let number = self.0 & ((1 << NUMBER_BITS) - 1);
        (self.0 == 0 || self.0 >> NUMBER_BITS == i64::from(lineage)).then_some(number)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A change of a record.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// Number in the sequence of all changes. A later change has a greater number, also after a restart. No
    /// number is used twice; not every number belongs to a change.
    pub number: i64,
    /// Id for clients.
    pub id: EventId,
    /// The message after the change.
    pub message: Shown<'a>,
    /// Status before the change; none if there was no record.
    pub previous: Option<Status>,
}

/// Filter of changes, applied to the record after each change.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only messages to this destination.
    pub destination: Option<Destination>,
    /// Only messages with this reference key.
    pub reference_key: Option<String>,
    /// Only messages with one of these statuses; if empty, with any status.
    pub statuses: Vec<Status>,
    /// Only messages whose status is final (`true`) or not final (`false`).
    pub is_final: Option<bool>,
}

impl Filter {
    /// Whether a change to this record passes the filter.
    pub fn passes(&self, record: &Record) -> bool {
        let destination = record.destination.as_ref().map(|claim| claim.value);
        let key = record.reference.as_ref().and_then(|claim| claim.value.key());
        self.destination.is_none_or(|wanted| destination == Some(wanted))
            && self.reference_key.as_deref().is_none_or(|wanted| key == Some(wanted))
            && (self.statuses.is_empty() || self.statuses.contains(&record.status))
            && self.is_final.is_none_or(|wanted| record.status.is_final() == wanted)
    }
}

/// Function that renders a change and appends it to the text.
pub type WriteChange = fn(&mut Vec<u8>, &Change<'_>);

/// A part of the change feed.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// Rendered changes that pass the filter, in order.
    pub text: Vec<u8>,
    /// Changes that pass the filter, in order.
    pub rendered: Vec<RenderedChange>,
    /// Number up to which all changes were examined.
    pub last: i64,
    /// Whether more changes are available already.
    pub more: bool,
}

/// A rendered change.
#[derive(Debug, Clone)]
pub struct RenderedChange {
    /// Number in the sequence of all changes.
    pub number: i64,
    /// The record after the change.
    pub record: Arc<Record>,
    /// Byte range of the change in the text.
    pub text: Range<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_ids_are_valid_in_one_lineage_only() {
        for (lineage, number) in [(0, 0), (0, 7), (1, 0), (1, 7), (8_191, (1 << NUMBER_BITS) - 1)] {
            let id = EventId::new(lineage, number);
            assert_eq!(id.number(lineage), Some(number), "{id}");
            assert!(id.0 < 1 << 53, "{id}");
            if id.0 != 0 {
                assert_eq!(id.number(lineage + 1), None, "{id}");
            }
        }
        // In a database that was never restored, numbers and ids are equal.
        assert_eq!(EventId::new(0, 7).to_string(), "7");
        assert_eq!(EventId::from_i64(0).unwrap().number(3), Some(0));
        assert_eq!(EventId::from_i64(-1), None);
    }
}
