//! Counting: metric labels of outcomes and rejections.

use std::sync::Arc;

use super::outcome::EntryResult;
use super::rejection::Rejection;
use crate::dialect::Source;
use crate::message::{Outcome, Timestamp};
use crate::metrics::{Configured, EntryOutcome, RejectReason};
use crate::store::{Entry, StoredEntry};
use crate::verify::Unverified;

/// These sources as the metrics see them, compared with the sources before.
pub(crate) fn configured<'a>(
    sources: &'a [Source],
    before: &'a [Arc<Source>],
) -> impl Iterator<Item = Configured<'a>> {
    sources.iter().map(|source| Configured {
        name: &source.name,
        secrets: source.scheme.secrets(),
        changed: !before.iter().any(|other| **other == *source),
    })
}

impl EntryResult {
    /// Outcome of an entry, as counted.
    pub fn outcome(&self) -> EntryOutcome {
        match self {
            Self::Judged { outcome, .. } => EntryOutcome::Judged(*outcome),
            Self::Quarantined { .. } => EntryOutcome::Quarantined,
            Self::Ignored { .. } => EntryOutcome::Ignored,
        }
    }
}

impl Rejection {
    /// Reason under which the rejection is counted.
    pub fn reason(&self) -> RejectReason {
        match self {
            Self::Rate => RejectReason::Rate,
            Self::Overloaded => RejectReason::Overloaded,
            Self::Closing => RejectReason::Closing,
            Self::Unverified(Unverified::Missing) => RejectReason::NoCredential,
            Self::Unverified(Unverified::Wrong) => RejectReason::WrongCredential,
            Self::Unverified(Unverified::Expired) => RejectReason::ExpiredCredential,
            Self::Unverified(Unverified::TooNew) => RejectReason::Clock,
            Self::TooOld => RejectReason::TooOld,
            Self::NotEncoded(_) => RejectReason::NotUnderstood,
            Self::Slow => RejectReason::Slow,
            Self::Store(_) => RejectReason::Store,
        }
    }
}

/// Status time that an entry states.
pub(crate) fn stated_at(entry: &Entry) -> Option<Timestamp> {
    match entry {
        Entry::Notification { notification, .. } => notification.statement().stated_at,
        Entry::Unreadable { .. } | Entry::Ignored { .. } => None,
    }
}

/// Whether a stored entry is a new, valid notification.
pub(crate) fn is_new(stored: &StoredEntry) -> bool {
    match stored {
        StoredEntry::Judged { outcome, .. } => {
            !matches!(outcome, Outcome::Duplicate | Outcome::Invalid)
        }
        StoredEntry::Quarantined { .. }
        | StoredEntry::Ignored { .. }
        | StoredEntry::QuarantineFull
        | StoredEntry::Erased
        | StoredEntry::TooMany => false,
    }
}
