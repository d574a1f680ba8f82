//! In which words what comes in is counted.

use std::sync::Arc;

use super::{Done, Refusal};
use crate::dialect::Source;
use crate::message::{Outcome, Timestamp};
use crate::metrics::{Became, Cause, Configured};
use crate::proof::Unproven;
use crate::store::{Entry, Stored};

/// These sources, where there were those before.
pub(super) fn configured<'a>(
    sources: &'a [Source],
    before: &'a [Arc<Source>],
) -> impl Iterator<Item = Configured<'a>> {
    sources.iter().map(|source| Configured {
        name: &source.name,
        secrets: source.scheme.secrets(),
        changed: !before.iter().any(|other| **other == *source),
    })
}

impl Done {
    /// What became of an entry.
    pub fn became(&self) -> Became {
        match self {
            Self::Judged { outcome, .. } => Became::Judged(*outcome),
            Self::Quarantined { .. } => Became::Quarantined,
            Self::Ignored { .. } => Became::Ignored,
        }
    }
}

impl Refusal {
    /// The word that it is counted by.
    pub fn cause(&self) -> Cause {
        match self {
            Self::Rate => Cause::Rate,
            Self::Overloaded => Cause::Overloaded,
            Self::Closing => Cause::Closing,
            Self::Unproven(Unproven::Missing) => Cause::NoProof,
            Self::Unproven(Unproven::Wrong) => Cause::WrongProof,
            Self::Unproven(Unproven::Expired) => Cause::ExpiredProof,
            Self::Unproven(Unproven::TooNew) => Cause::Clock,
            Self::TooOld => Cause::TooOld,
            Self::NotEncoded(_) => Cause::NotUnderstood,
            Self::Slow => Cause::Slow,
            Self::Store(_) => Cause::Store,
        }
    }
}

/// The time that an entry states for its status.
pub(super) fn stated_at(entry: &Entry) -> Option<Timestamp> {
    match entry {
        Entry::Notification { notification, .. } => notification.statement().stated_at,
        Entry::Unreadable { .. } => None,
    }
}

/// Whether something was said that had not been said before, and can be.
pub(super) fn is_new(stored: &Stored) -> bool {
    match stored {
        Stored::Judged { outcome, .. } => !matches!(outcome, Outcome::Duplicate | Outcome::Invalid),
        Stored::Quarantined { .. } | Stored::QuarantineFull | Stored::Erased | Stored::TooMany => {
            false
        }
    }
}
