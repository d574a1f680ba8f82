//! Change feed, read from the notification log. It runs on a read thread.
//!
//! The record after a notification is derived from the chain of notifications before it; mostly it is still
//! in the cache. So nothing is kept for listening clients, and they can continue from any number.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::snapshot::Snapshot;
use crate::message::{MessageId, Record};
use crate::store::sqlite::cache::records::Cache;
use crate::store::sqlite::rows::column::Coded;
use crate::store::sqlite::rows::notification_chain::visit_backwards;
use crate::store::sqlite::rows::record::{self, logged, logged_columns};
use crate::store::{Change, Changes, EventId, Filter, RenderedChange, WriteChange};

/// Length of text at which a part ends, in bytes: 16 KiB.
const PART_BYTES: usize = 16 << 10;
/// Time limit for reading a part. Other queries wait for the thread meanwhile.
const PART_TIME: Duration = Duration::from_millis(20);

/// Reads one part of the change feed, after this number.
pub(crate) fn changes(
    db: &Connection,
    cache: &Cache,
    after: i64,
    filter: &Filter,
    write: WriteChange,
    lineage: u32,
) -> rusqlite::Result<Changes> {
    const SELECT: &str = "SELECT seq, message, changed_from FROM notification WHERE seq > ? AND seq <= ? ORDER BY seq";
    let started = Instant::now();
    // Only up to the published state: a query that was woken by a change finds it. The last published number
    // is read before the transaction begins, so that the notification log has everything up to it. The row
    // with that number may be missing, because it was removed.
    let last_published = cache.notifier.subscribe_latest().current();
    // One transaction, so that the chain of each notification can be read to its end.
    let snapshot = Snapshot::begin(db)?;
    let mut select = snapshot.prepare_cached(SELECT)?;
    let mut rows = select.query([after, last_published])?;
    let mut changes = Changes { last: after, ..Changes::default() };
    while let Some(row) = rows.next()? {
        let is_first = changes.last == after;
        if !is_first && (changes.text.len() >= PART_BYTES || started.elapsed() > PART_TIME) {
            return Ok(Changes { more: true, ..changes });
        }
        let number = row.get(0)?;
        changes.last = number;
        let previous = match row.get(2)? {
            None => continue,
            Some(record::NO_RECORD) => None,
            Some(_) => {
                let Coded(status) = row.get(2)?;
                Some(status)
            }
        };
        let id = record::message_id(row, 1)?;
        if let Some(record) = record_after(&snapshot, cache, id, number)?
            && filter.passes(&record)
        {
            let (start, event) = (changes.text.len(), EventId::new(lineage, number));
            let message = record.shown(id);
            write(&mut changes.text, &Change { number, id: event, message, previous });
            changes.rendered.push(RenderedChange {
                number,
                record,
                text: start..changes.text.len(),
            });
        }
    }
    Ok(Changes { last: changes.last.max(last_published), ..changes })
}

/// Record of a message after this notification.
fn record_after(
    db: &Connection,
    cache: &Cache,
    id: MessageId,
    number: i64,
) -> rusqlite::Result<Option<Arc<Record>>> {
    let cached = cache.read().get(id).filter(|entry| entry.last == number).cloned();
    if let Some(entry) = cached {
        return Ok(entry.record.clone());
    }
    let mut known: Option<Record> = None;
    visit_backwards(db, number, concat!("previous, ", logged_columns!()), |row| {
        let logged = logged(row, 1)?;
        if let Some(alone) = Record::of(&logged.notification, logged.arrived_at) {
            known = Some(match known.take() {
                Some(known) => known.merge(alone),
                None => alone,
            });
        }
        Ok(())
    })?;
    Ok(known.map(Arc::new))
}
