//! Cached state of one message: what the writer knows of it without asking the tables.

use std::sync::Arc;

use super::appended::Appended;
use crate::message::{Destination, Identity, Provider, Record};
use crate::store::Key;

/// Bytes of a record with its texts.
fn record_bytes(record: &Record) -> usize {
    let Provider { name, id, status, code, message } = record.provider();
    let message = message.as_ref().map_or(0, String::len);
    let reference = record.reference.as_ref().map(|claim| &claim.value);
    let reference = reference.map_or(0, |reference| {
        [reference.service(), reference.action(), reference.key()]
            .map(|text| text.map_or(0, str::len))
            .iter()
            .sum()
    });
    size_of::<Record>() + name.len() + id.len() + status.len() + code.len() + message + reference
}

/// What is known of one message.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Its row in `message`, if it has one.
    pub(super) row: Option<Row>,
    /// Its first notification that the row lacks; none if it has all.
    pub(super) since: Option<i64>,
    /// Its last notification.
    pub(super) last: i64,
    /// Every notification of it, by identity.
    pub(super) identities: Appended<Identity>,
    /// Registrations that were renewed, which the log has as rows of their own.
    pub(super) renewals: u32,
    /// The provider's ids that lead to it; those first that lead to its row.
    pub(super) foreign_ids: Appended<ForeignId>,
    /// Bytes of the provider's ids.
    foreign_bytes: usize,
    /// What follows; none if nothing valid was said.
    pub(super) record: Option<Arc<Record>>,
}

/// A row of `message`.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) n: i64,
    /// The record that it has.
    pub(super) record: Option<Arc<Record>>,
    /// How many of the provider's ids lead to it.
    pub(super) foreign_ids: usize,
}

/// The provider's own id, at one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ForeignId {
    pub(super) source: String,
    pub(super) id: String,
}

/// Bytes that an entry takes beside what it points to: itself, its slot, and its places in the maps.
const ENTRY_BYTES: usize = size_of::<Entry>() + 256;

impl Entry {
    /// An entry of a message of which this row is known, if it has one.
    pub(super) fn new(row: Option<Row>, since: Option<i64>, last: i64) -> Self {
        let record = row.as_ref().and_then(|row| row.record.clone());
        Self {
            row,
            since,
            last,
            identities: Appended::default(),
            renewals: 0,
            foreign_ids: Appended::default(),
            foreign_bytes: 0,
            record,
        }
    }

    /// What is known of a message after one more row of the log: a notification of this identity, or one
    /// that was renewed.
    pub(super) fn after(
        before: Option<&Self>,
        seq: i64,
        new: Option<Identity>,
        foreign_id: Option<ForeignId>,
        record: Option<Arc<Record>>,
    ) -> Self {
        let mut entry = match before {
            Some(before) => Self {
                row: before.row.clone(),
                since: before.since.or(Some(seq)),
                last: seq,
                identities: match new {
                    Some(identity) => before.identities.with(identity),
                    None => before.identities.clone(),
                },
                renewals: before.renewals + u32::from(new.is_none()),
                foreign_ids: before.foreign_ids.clone(),
                foreign_bytes: before.foreign_bytes,
                record,
            },
            None => Self {
                record,
                identities: new.map_or_else(Appended::default, |new| Appended::default().with(new)),
                ..Self::new(None, Some(seq), seq)
            },
        };
        if let Some(id) = foreign_id {
            entry.add_foreign_id(id);
        }
        entry
    }

    /// How many notifications are shown.
    pub(super) fn notifications(&self) -> u32 {
        u32::try_from(self.identities.len()).unwrap_or(u32::MAX)
    }

    /// How many rows the log has of the message.
    pub(super) fn logged(&self) -> u32 {
        self.notifications().saturating_add(self.renewals)
    }

    /// Adds one of the provider's ids, unless it is there.
    pub(super) fn add_foreign_id(&mut self, id: ForeignId) {
        if !self.foreign_ids.contains(&id) {
            self.foreign_bytes += size_of::<ForeignId>() + id.source.len() + id.id.len();
            self.foreign_ids.push(id);
        }
    }

    /// Bytes of memory that the entry takes, to a few per cent.
    pub(super) fn bytes(&self) -> usize {
        let record = self.record.as_ref();
        let in_row = self.row.as_ref().and_then(|row| row.record.as_ref());
        let is_another = |other: &&Arc<Record>| !record.is_some_and(|one| Arc::ptr_eq(one, other));
        let records = record.into_iter().chain(in_row.filter(is_another));
        ENTRY_BYTES
            + self.identities.len() * size_of::<Identity>()
            + self.foreign_bytes
            + records.map(|record| record_bytes(record)).sum::<usize>()
    }

    /// Whether it is listed under this.
    pub(super) fn is_under(&self, wanted: &Under<'_>) -> bool {
        self.under().any(|under| under == *wanted)
    }

    /// Whether it has the same places in the lists and in the queue.
    pub(super) fn has_places_of(&self, other: &Self) -> bool {
        let row = |entry: &Self| entry.row.as_ref().map(|row| row.n);
        let at = |entry: &Self| entry.record.as_ref().map(|record| record.accepted_at());
        self.since == other.since
            && row(self) == row(other)
            && at(self) == at(other)
            && self.under().eq(other.under())
    }

    /// All that it is listed under.
    pub(super) fn under(&self) -> impl Iterator<Item = Under<'_>> {
        let foreign = self.foreign_ids.iter().filter(|_| self.record.is_some());
        let foreign = foreign.map(|ForeignId { source, id }| Under::Foreign { source, id });
        self.record.iter().flat_map(|record| under(record)).chain(foreign)
    }
}

/// What a record is listed under.
pub(super) fn under(record: &Record) -> impl Iterator<Item = Under<'_>> {
    let destination = record.destination.as_ref().map(|claim| Under::Destination(claim.value));
    let reference = record.reference.as_ref().and_then(|claim| claim.value.key());
    destination.into_iter().chain(reference.map(Under::Reference))
}

/// What a message is listed under.
#[derive(PartialEq, Eq, Hash)]
pub(super) enum Under<'a> {
    Destination(Destination),
    Reference(&'a str),
    Foreign { source: &'a str, id: &'a str },
}

impl<'a> From<&'a Key> for Under<'a> {
    fn from(key: &'a Key) -> Self {
        match key {
            Key::Destination(number) => Self::Destination(*number),
            Key::Reference(key) => Self::Reference(key),
            Key::Foreign { source, id } => Self::Foreign { source, id },
        }
    }
}
