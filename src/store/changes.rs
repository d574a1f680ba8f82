//! The changes of records, in the order in which they were committed.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::message::{Destination, Record, Shown, Status};

/// Bits of an event id that hold the number.
const NUMBER_BITS: u32 = 40;

/// Name of a change that is unique across restores: the lineage of the database, and the number within it.
/// It is below 2^53, so that every JSON reader keeps it exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventId(i64);

impl EventId {
    /// The name of a number in a database of this lineage.
    pub fn new(lineage: u32, number: i64) -> Self {
        Self((i64::from(lineage) << NUMBER_BITS).saturating_add(number))
    }

    /// Reads a name as a client sends it.
    pub fn from_i64(id: i64) -> Option<Self> {
        (id >= 0).then_some(Self(id))
    }

    /// The number, if the name is of this lineage. 0 is before the first change of every lineage.
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
    /// Its number in the sequence of all changes. A later change has a greater one, also after a restart,
    /// and none is used twice; not every number is that of a change.
    pub number: i64,
    /// Its name for clients.
    pub id: EventId,
    /// The message after it.
    pub message: Shown<'a>,
    /// The status before it; none if there was no record.
    pub previous: Option<Status>,
}

/// Which changes are wanted, by what is known of the message after them.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only those of messages to this recipient.
    pub destination: Option<Destination>,
    /// Only those of messages with this reference key.
    pub reference_key: Option<String>,
    /// Only those of messages that have one of these statuses; any, if there is none.
    pub statuses: Vec<Status>,
    /// Only those of messages whose status is final, or only those whose is not.
    pub is_final: Option<bool>,
}

impl Filter {
    /// Whether a change is wanted that leads to this record.
    pub fn passes(&self, record: &Record) -> bool {
        let destination = record.destination.as_ref().map(|claim| claim.value);
        let key = record.reference.as_ref().and_then(|claim| claim.value.key());
        self.destination.is_none_or(|wanted| destination == Some(wanted))
            && self.reference_key.as_deref().is_none_or(|wanted| key == Some(wanted))
            && (self.statuses.is_empty() || self.statuses.contains(&record.status))
            && self.is_final.is_none_or(|wanted| record.status.is_final() == wanted)
    }
}

/// Adds what is shown of a change to a text.
pub type WriteChange = fn(&mut Vec<u8>, &Change<'_>);

/// A part of the sequence of changes.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// What was written of those that are wanted, in order.
    pub text: Vec<u8>,
    /// Those that are wanted, in order.
    pub told: Vec<Told>,
    /// All changes up to this number were looked at.
    pub last: i64,
    /// Whether there are more already.
    pub more: bool,
}

/// A change that was written to a text.
#[derive(Debug, Clone)]
pub struct Told {
    /// Its number in the sequence of all changes.
    pub number: i64,
    /// The record after it.
    pub record: Arc<Record>,
    /// Its place in the text.
    pub text: Range<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_id_is_of_one_lineage() {
        for (lineage, number) in [(0, 0), (0, 7), (1, 0), (1, 7), (8_191, (1 << NUMBER_BITS) - 1)] {
            let id = EventId::new(lineage, number);
            assert_eq!(id.number(lineage), Some(number), "{id}");
            assert!(id.0 < 1 << 53, "{id}");
            if id.0 != 0 {
                assert_eq!(id.number(lineage + 1), None, "{id}");
            }
        }
        // The numbers of a database that was never restored are the ids.
        assert_eq!(EventId::new(0, 7).to_string(), "7");
        assert_eq!(EventId::from_i64(0).unwrap().number(3), Some(0));
        assert_eq!(EventId::from_i64(-1), None);
    }
}
