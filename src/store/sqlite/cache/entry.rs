//! Cached state of one message, which the writer uses without reading the tables.

use std::sync::Arc;

use super::append_list::AppendList;
use crate::message::{
    AcceptanceTimes, Destination, Identity, MessageId, Provider, Record, Timestamp,
};
use crate::store::sqlite::index::entry::{IndexEntry, IndexKey, IndexSecret};
use crate::store::sqlite::rows::list_order::list_order;
use crate::store::{Key, Place};

/// Size of a record with its texts, in bytes.
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

/// Cached state of one message.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// The message's row in `message`, if it has one.
    pub(crate) row: Option<Row>,
    /// Number of the first notification that the row lacks; none if the row has all.
    pub(crate) since: Option<i64>,
    /// Number of the message's last notification.
    pub(crate) last: i64,
    /// Identities of all notifications of the message.
    pub(crate) identities: AppendList<Identity>,
    /// Number of renewed registrations, each of which has a row of its own in the notification log.
    pub(crate) renewals: u32,
    /// The provider's ids for the message; those already stored for its row come first.
    pub(crate) foreign_ids: AppendList<ForeignId>,
    /// Size of the provider's ids, in bytes.
    foreign_bytes: usize,
    /// Record; none if the message has no valid notification.
    pub(crate) record: Option<Arc<Record>>,
}

/// A row of `message`.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) n: i64,
    /// Indexed columns of the row; none if it has no record.
    pub(crate) indexed: Option<IndexedColumns>,
    /// Number of the provider's ids stored for the row.
    pub(crate) foreign_ids: usize,
}

impl Row {
    /// 1 for a row whose record has no destination, otherwise 0.
    pub(crate) fn without_destination(&self) -> i64 {
        self.indexed.as_ref().is_some_and(|indexed| indexed.destination.is_none()).into()
    }

    /// Entries of the row in the index.
    pub(crate) fn index_entries(&self, id: MessageId, secret: &IndexSecret) -> Vec<IndexEntry> {
        let mut entries = Vec::with_capacity(3);
        let mut add = |key, list_order| entries.push(IndexEntry::new(key, list_order, self.n));
        add(id.into(), 0);
        if let Some(indexed) = &self.indexed {
            let order = list_order(Place { accepted_at: indexed.accepted_at(), id });
            if let Some(destination) = indexed.destination {
                add(IndexKey::from(destination), order);
            }
            if let Some(key) = &indexed.reference_key {
                add(IndexKey::of_reference(key, secret), order);
            }
        }
        entries
    }
}

/// Columns of a row that indexes read: the keys under which the table lists the message, and its place there.
#[derive(Debug, Clone)]
pub(crate) struct IndexedColumns {
    acceptance: AcceptanceTimes,
    destination: Option<Destination>,
    reference_key: Option<Box<str>>,
}

impl IndexedColumns {
    /// Columns of a record's row.
    pub(crate) fn of(record: &Record) -> Self {
        Self {
            acceptance: record.acceptance,
            destination: destination(record),
            reference_key: reference_key(record).map(Box::from),
        }
    }

    /// Whether the columns of this record have the same values.
    pub(crate) fn match_record(&self, record: &Record) -> bool {
        self.acceptance == record.acceptance
            && self.destination == destination(record)
            && self.reference_key.as_deref() == reference_key(record)
    }

    /// Acceptance time of the message.
    pub(crate) fn accepted_at(&self) -> Timestamp {
        self.acceptance.accepted_at()
    }

    /// Destination and reference key under which the table lists the message.
    pub(crate) fn list_keys(&self) -> impl Iterator<Item = ListedUnder<'_>> {
        list_keys(self.destination, self.reference_key.as_deref())
    }
}

fn destination(record: &Record) -> Option<Destination> {
    record.destination.as_ref().map(|claim| claim.value)
}

fn reference_key(record: &Record) -> Option<&str> {
    record.reference.as_ref().and_then(|claim| claim.value.key())
}

fn list_keys(
    destination: Option<Destination>,
    reference_key: Option<&str>,
) -> impl Iterator<Item = ListedUnder<'_>> {
    let destination = destination.map(ListedUnder::Destination);
    destination.into_iter().chain(reference_key.map(ListedUnder::Reference))
}

/// The provider's own id for a message, at one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ForeignId {
    pub(crate) source: String,
    pub(crate) id: String,
}

/// Memory of an entry besides what it points to, in bytes: the entry itself, its slot, and its places in the
/// maps.
const ENTRY_BYTES: usize = size_of::<Entry>() + 256;

impl Entry {
    /// Makes an entry for a message, with its row and the row's record if it has them.
    pub(crate) fn new(
        row: Option<Row>,
        record: Option<Arc<Record>>,
        since: Option<i64>,
        last: i64,
    ) -> Self {
        Self {
            row,
            since,
            last,
            identities: AppendList::default(),
            renewals: 0,
            foreign_ids: AppendList::default(),
            foreign_bytes: 0,
            record,
        }
    }

    /// Cached state after one more row of the notification log: a new notification with this identity, or
    /// (with `new` none) a renewed registration.
    pub(crate) fn after(
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
                identities: new
                    .map_or_else(AppendList::default, |new| AppendList::default().with(new)),
                ..Self::new(None, record, Some(seq), seq)
            },
        };
        if let Some(id) = foreign_id {
            entry.add_foreign_id(id);
        }
        entry
    }

    /// Cached state once the table has all of it, in this row.
    pub(crate) fn written(&self, row: Row) -> Self {
        Self { row: Some(row), since: None, ..self.clone() }
    }

    /// Number of distinct notifications.
    pub(crate) fn notifications(&self) -> u32 {
        u32::try_from(self.identities.len()).unwrap_or(u32::MAX)
    }

    /// Number of the message's rows in the notification log.
    pub(crate) fn log_rows(&self) -> u32 {
        self.notifications().saturating_add(self.renewals)
    }

    /// Adds one of the provider's ids, unless it is present.
    pub(crate) fn add_foreign_id(&mut self, id: ForeignId) {
        if !self.foreign_ids.contains(&id) {
            self.foreign_bytes += size_of::<ForeignId>() + id.source.len() + id.id.len();
            self.foreign_ids.push(id);
        }
    }

    /// Memory that the entry uses, in bytes, accurate to a few per cent.
    pub(crate) fn bytes(&self) -> usize {
        let indexed = self.row.as_ref().and_then(|row| row.indexed.as_ref());
        let reference_key = indexed.and_then(|indexed| indexed.reference_key.as_deref());
        ENTRY_BYTES
            + self.identities.len() * size_of::<Identity>()
            + self.foreign_bytes
            + self.record.as_deref().map_or(0, record_bytes)
            + reference_key.map_or(0, str::len)
    }

    /// Difference that the record makes to the number of rows without a destination: 1 if its row will be one
    /// more of them, -1 if it no longer will be one, otherwise 0.
    pub(crate) fn without_destination(&self) -> i64 {
        let record = self.record.as_deref();
        let lacks = record.is_some_and(|record| record.destination.is_none());
        i64::from(lacks) - self.row.as_ref().map_or(0, Row::without_destination)
    }

    /// Whether the message is listed under this key.
    pub(crate) fn is_listed_under(&self, wanted: &ListedUnder<'_>) -> bool {
        self.list_keys().any(|under| under == *wanted)
    }

    /// Where the message is listed: under which key, and the acceptance time of its place there. First the places of
    /// the record, then those that only the row still has.
    pub(crate) fn places(&self) -> impl Iterator<Item = (Timestamp, ListedUnder<'_>)> {
        let row = self.row.as_ref().and_then(|row| Some((row, row.indexed.as_ref()?)));
        let of_row = row.into_iter().flat_map(|(row, indexed)| {
            let foreign = self.foreign_ids.iter().take(row.foreign_ids);
            let foreign =
                foreign.map(|ForeignId { source, id }| ListedUnder::Foreign { source, id });
            indexed.list_keys().chain(foreign).map(|under| (indexed.accepted_at(), under))
        });
        self.places_of_record()
            .chain(of_row.filter(|place| self.places_of_record().all(|other| other != *place)))
    }

    fn places_of_record(&self) -> impl Iterator<Item = (Timestamp, ListedUnder<'_>)> {
        let record = self.record.as_ref().map(|record| record.accepted_at());
        record.into_iter().flat_map(|at| self.list_keys().map(move |under| (at, under)))
    }

    /// All keys that the message is listed under.
    pub(crate) fn list_keys(&self) -> impl Iterator<Item = ListedUnder<'_>> {
        let foreign = self.foreign_ids.iter().filter(|_| self.record.is_some());
        let foreign = foreign.map(|ForeignId { source, id }| ListedUnder::Foreign { source, id });
        let record = self.record.as_deref();
        let listed = record.map(|record| list_keys(destination(record), reference_key(record)));
        listed.into_iter().flatten().chain(foreign)
    }
}

/// Key that a message is listed under.
#[derive(PartialEq, Eq, Hash)]
pub(crate) enum ListedUnder<'a> {
    Destination(Destination),
    Reference(&'a str),
    Foreign { source: &'a str, id: &'a str },
}

impl<'a> From<&'a Key> for ListedUnder<'a> {
    fn from(key: &'a Key) -> Self {
        match key {
            Key::Destination(number) => Self::Destination(*number),
            Key::Reference(key) => Self::Reference(key),
            Key::Foreign { source, id } => Self::Foreign { source, id },
        }
    }
}
