//! The changes of records, in the order in which they were committed.

use crate::message::{Destination, Record, Shown, Status};

/// A change of a record.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// Its number in the sequence of all changes. A later change has a greater one, also after a restart,
    /// and none is used twice; not every number is that of a change.
    pub number: i64,
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
    /// All changes up to this number were looked at.
    pub last: i64,
    /// Whether there are more already.
    pub more: bool,
}
