//! The changes of records, taken from the log. Runs on a read thread.
//!
//! What a record was after a notification follows from those before it, which its chain leads to; mostly it
//! is still in memory. So nothing is kept for those who listen, and they can go on from any number.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::fold::each_back_from;
use super::recent::Committed;
use super::row::{self, logged, logged_columns};
use super::value::Coded;
use crate::message::{MessageId, Record};
use crate::store::{Change, Changes, EventId, Filter, Told, WriteChange};

/// With so many bytes of text a part has enough.
const ENOUGH: usize = 32 << 10;
/// For so long a part is read at most; queries wait for the thread meanwhile.
const LONG: Duration = Duration::from_millis(20);

/// Reads the log behind a number, a part of it.
pub(super) fn changes(
    db: &Connection,
    recent: &Committed,
    after: i64,
    filter: &Filter,
    write: WriteChange,
    lineage: u32,
) -> rusqlite::Result<Changes> {
    const SELECT: &str = "SELECT seq, message, changed_from FROM notification WHERE seq > ? AND seq <= ? ORDER BY seq";
    let begun = Instant::now();
    // Up to the state that is published and no further: whoever hears of a change and asks finds it. Asked
    // first, so that the log has all up to it. Its end may be missing there: it was removed.
    let given = recent.news.latest().now();
    // One transaction, so that what a chain leads to is there.
    let together = db.unchecked_transaction()?;
    let mut select = together.prepare_cached(SELECT)?;
    let mut rows = select.query([after, given])?;
    let mut changes = Changes { last: after, ..Changes::default() };
    while let Some(row) = rows.next()? {
        let is_first = changes.last == after;
        if !is_first && (changes.text.len() >= ENOUGH || begun.elapsed() > LONG) {
            return Ok(Changes { more: true, ..changes });
        }
        let number = row.get(0)?;
        changes.last = number;
        let previous = match row.get(2)? {
            None => continue,
            Some(row::NO_RECORD) => None,
            Some(_) => {
                let Coded(status) = row.get(2)?;
                Some(status)
            }
        };
        let id = row::message_id(row, 1)?;
        if let Some(record) = record_after(&together, recent, id, number)?
            && filter.passes(&record)
        {
            let (start, event) = (changes.text.len(), EventId::new(lineage, number));
            let message = record.shown(id);
            write(&mut changes.text, &Change { number, id: event, message, previous });
            changes.told.push(Told { number, record, text: start..changes.text.len() });
        }
    }
    Ok(Changes { last: changes.last.max(given), ..changes })
}

/// What was known of a message after this notification of it.
fn record_after(
    db: &Connection,
    recent: &Committed,
    id: MessageId,
    number: i64,
) -> rusqlite::Result<Option<Arc<Record>>> {
    let lately = recent.now().get(id).filter(|entry| entry.last == number).cloned();
    if let Some(entry) = lately {
        return Ok(entry.record.clone());
    }
    let mut known: Option<Record> = None;
    each_back_from(db, number, concat!("previous, ", logged_columns!()), |row| {
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
