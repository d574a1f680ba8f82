//! Results of the entries of a delivery. An ignored entry keeps its place: the store passes it through.

use crate::dialect;
use crate::message::{MessageId, Outcome, Status};
use crate::store::{Entry, QuarantineId, StoredEntry};

/// Reason for ignoring a late notification of an erased message.
const ERASED_REASON: &str = "the message was erased before this notification arrived";

/// Outcome of one entry of a delivery.
#[derive(Debug, Clone)]
pub enum EntryResult {
    /// Judged against its message.
    Judged {
        /// Message of the entry.
        message: MessageId,
        /// Outcome for the message.
        outcome: Outcome,
        /// Status of the record afterwards, if there is a record.
        status: Option<Status>,
    },
    /// Not understood, and kept in quarantine.
    Quarantined {
        /// Id in the quarantine.
        id: QuarantineId,
        /// Reason why it was not understood.
        reason: String,
    },
    /// Ignored: states no message status.
    Ignored {
        /// Reason why it was ignored.
        reason: String,
    },
}

/// Entries as the store takes them, in the order of the delivery.
pub(crate) fn to_store_entries(read: Vec<dialect::Entry>) -> Vec<Entry> {
    let entry = |(index, entry)| match entry {
        dialect::Entry::Notification { notification, by_provider_id } => {
            Entry::Notification { index, notification, by_provider_id }
        }
        dialect::Entry::Unreadable { reason } => Entry::Unreadable { index, reason },
        dialect::Entry::Ignored { reason } => Entry::Ignored { reason },
    };
    (0..).zip(read).map(entry).collect()
}

/// Results of entries that are all ignored, so that nothing has to be stored; `None` if one is not.
pub(crate) fn all_ignored(entries: &[Entry]) -> Option<Vec<EntryResult>> {
    let ignored = |entry: &Entry| match entry {
        Entry::Ignored { reason } => Some(EntryResult::Ignored { reason: reason.clone() }),
        Entry::Notification { .. } | Entry::Unreadable { .. } => None,
    };
    entries.iter().map(ignored).collect()
}

/// Result of an entry, given that of the store. None for the two results that reject the whole request: too many
/// notifications concern registrations alone, and a full quarantine rejects the delivery.
pub(crate) fn entry_result(stored: StoredEntry) -> Option<EntryResult> {
    Some(match stored {
        StoredEntry::Judged { message, outcome, record, .. } => {
            let status = record.map(|record| record.status);
            EntryResult::Judged { message, outcome, status }
        }
        StoredEntry::Quarantined { id, reason } => EntryResult::Quarantined { id, reason },
        StoredEntry::Ignored { reason } => EntryResult::Ignored { reason },
        StoredEntry::Erased => EntryResult::Ignored { reason: ERASED_REASON.to_owned() },
        StoredEntry::TooMany | StoredEntry::QuarantineFull => return None,
    })
}
