//! Queries of messages, from the cache and the tables. They run on a read thread.
//!
//! The cache takes precedence over the tables, which may be behind for the same message.

use std::collections::HashSet;
use std::sync::Arc;

use rusqlite::Connection;
use rusqlite::types::Value;

use super::in_order::{ByValue, InOrder, Select, select_listed};
use crate::message::{Identity, MessageId};
use crate::store::sqlite::cache::load::load;
use crate::store::sqlite::cache::records::Cache;
use crate::store::sqlite::index::blocks::select_row;
use crate::store::sqlite::index::entry::IndexKey;
use crate::store::sqlite::index::runs::Runs;
use crate::store::sqlite::rows::list_order::list_order;
use crate::store::sqlite::rows::record::{self, record_columns};
use crate::store::{Key, Listing, Message, Page, Place, Write};

/// Whether all these notifications are stored.
pub(crate) fn holds(
    db: &Connection,
    cache: &Cache,
    notifications: &[(MessageId, Identity)],
) -> rusqlite::Result<bool> {
    for (message, identity) in notifications {
        let cached = cache.read().get(*message).cloned();
        let known = match cached {
            Some(known) => Some(known),
            None => load(db, &cache.runs.current(), *message)?.map(Arc::new),
        };
        if !known.is_some_and(|known| known.identities.contains(identity)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Record of a message in the table.
pub(crate) fn message(
    db: &Connection,
    runs: &Runs,
    id: MessageId,
) -> rusqlite::Result<Option<Message>> {
    const SELECT: &str = select_row!(record_columns!());
    let record = runs.row(db, SELECT, id, record::record)?;
    Ok(record.flatten().map(|record| Message { id, record }))
}

/// Reads a page of a list, and one message more to see whether the list continues. The cache is searched
/// first; then the table is read in one go, leaving out the cached messages. The connection must be in a transaction.
pub(crate) fn list(
    db: &Connection,
    cache: &Cache,
    key: &Key,
    page: Page,
    write: Write,
) -> rusqlite::Result<Listing> {
    let wanted = usize::try_from(page.count).unwrap_or(usize::MAX).saturating_add(1);
    let after = page.after.max(page.before.map(Place::after_all_accepted_at));
    let cached = cache.read().listed(key, after, wanted);
    let cached_ids: HashSet<MessageId> = cached.iter().map(|(id, _)| *id).collect();
    let records = cached.iter().filter_map(|(id, record)| Some((*id, record.as_deref()?)));
    let listed: Vec<_> = records
        .map(|(id, record)| (Place { accepted_at: record.accepted_at(), id }, record))
        .collect();
    let numbers: Vec<_> = listed.iter().map(|(place, _)| list_order(*place)).collect();
    let runs = cache.runs.current();
    let mut listing = Listing::default();
    InOrder {
        db,
        runs: &runs,
        select: select_of(&runs, key),
        key: parameters(key),
        after,
        until: i64::MAX,
        limit: wanted,
        cached: &numbers,
        is_match: &|shown, _row| Ok(!cached_ids.contains(&shown.id)),
        is_timed_out: &|| false,
        write,
    }
    .read(&mut listing)?;
    listing.keep_first(wanted);
    // Of the cached messages only those that belong to the page are written.
    let last = listing.messages.get(wanted - 1).map(|last| last.place);
    for (place, record) in
        listed.iter().take_while(|(place, _)| last.is_none_or(|last| *place < last))
    {
        listing.add(&record.shown(place.id), write);
    }
    listing.keep_first(wanted);
    listing.more = listing.messages.len() >= wanted;
    listing.messages.truncate(wanted - 1);
    Ok(listing)
}

/// Queries for the messages under a key.
fn select_of(runs: &Runs, key: &Key) -> Select {
    match key {
        Key::Destination(destination) => Select {
            by_value: ByValue::Index(IndexKey::from(*destination)),
            by_rows: select_listed!(
                "rarray(?3) AS entry CROSS JOIN message ON n = entry.value WHERE destination = ?1 AND ?2 IS NULL"
            ),
        },
        Key::Reference(key) => Select {
            by_value: ByValue::Index(IndexKey::of_reference(key, runs.secret())),
            by_rows: select_listed!(
                "rarray(?3) AS entry CROSS JOIN message ON n = entry.value WHERE reference_key = ?1 AND ?2 IS NULL"
            ),
        },
        Key::Foreign { .. } => Select {
            by_value: ByValue::Query(select_listed!(
                "foreign_id AS f CROSS JOIN message USING (n) WHERE f.source = ?1 AND f.id = ?2 \
                 AND message.list_order >= ?3 AND message.list_order <= ?4 \
                 ORDER BY message.list_order"
            )),
            by_rows: select_listed!(
                "rarray(?3) AS entry CROSS JOIN message ON n = entry.value WHERE EXISTS (SELECT 1 FROM foreign_id AS f \
                 WHERE f.source = ?1 AND f.id = ?2 AND f.n = message.n)"
            ),
        },
    }
}

/// Query parameters of a key.
fn parameters(key: &Key) -> (Value, Option<&str>) {
    match key {
        Key::Destination(number) => {
            (i64::try_from(number.number()).unwrap_or(i64::MAX).into(), None)
        }
        Key::Reference(text) => (text.clone().into(), None),
        Key::Foreign { source, id } => (source.clone().into(), Some(id.as_str())),
    }
}
