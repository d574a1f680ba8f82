//! The entries of a delivery: what of them goes to the store, and what became of each.

use crate::dialect;
use crate::message::{MessageId, Outcome, Status};
use crate::store::{Entry, QuarantineId, Stored};

/// Why something is ignored that was erased.
const ERASED: &str = "the message was erased, and this comes late";

/// What became of one entry of a delivery.
#[derive(Debug, Clone)]
pub enum Done {
    /// It was judged.
    Judged {
        /// The message it is about.
        message: MessageId,
        /// What it did.
        outcome: Outcome,
        /// The record's status after it, if there is a record.
        status: Option<Status>,
    },
    /// It is kept, but could not be understood.
    Quarantined {
        /// Its name in the quarantine.
        id: QuarantineId,
        /// What could not be understood.
        reason: String,
    },
    /// It says nothing about a status.
    Ignored {
        /// What it is instead.
        reason: String,
    },
}

/// Takes out what is ignored, which the store does not see, and remembers where it was.
pub(super) fn split(read: Vec<dialect::Entry>) -> (Vec<Entry>, Vec<(usize, String)>) {
    let mut entries = Vec::with_capacity(read.len());
    let mut ignored = Vec::new();
    for (place, entry) in read.into_iter().enumerate() {
        let index = u32::try_from(place).unwrap_or(u32::MAX);
        match entry {
            dialect::Entry::Notification { notification, foreign_id } => {
                entries.push(Entry::Notification { index, notification, foreign_id });
            }
            dialect::Entry::Unreadable { reason } => {
                entries.push(Entry::Unreadable { index, reason });
            }
            dialect::Entry::Ignored { reason } => ignored.push((place, reason)),
        }
    }
    (entries, ignored)
}

/// Puts what was ignored back in its place among what was stored.
pub(super) fn joined(stored: Vec<Stored>, ignored: Vec<(usize, String)>) -> Vec<Done> {
    let mut done: Vec<Done> = stored
        .into_iter()
        .filter_map(|stored| match stored {
            Stored::Judged { message, outcome, record, .. } => {
                let status = record.map(|record| record.status);
                Some(Done::Judged { message, outcome, status })
            }
            Stored::Quarantined { id, reason } => Some(Done::Quarantined { id, reason }),
            Stored::Erased => Some(Done::Ignored { reason: ERASED.to_owned() }),
            // Only registrations have too many, and the whole delivery is refused for a full quarantine:
            // neither comes here.
            Stored::TooMany | Stored::QuarantineFull => None,
        })
        .collect();
    for (place, reason) in ignored {
        done.insert(place.min(done.len()), Done::Ignored { reason });
    }
    done
}
