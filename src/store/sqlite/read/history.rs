//! Histories, read in parts. They are read on a read thread.
//!
//! The notifications of a message form a chain from the last one back. The chain is walked once for the
//! columns of fixed size. The texts are read by number, only as many as requested.

use rusqlite::{Connection, OptionalExtension, Row};

use super::snapshot::Snapshot;
use crate::message::MessageId;
use crate::store::sqlite::cache::records::Cache;
use crate::store::sqlite::index::blocks::select_row;
use crate::store::sqlite::rows::column::Coded;
use crate::store::sqlite::rows::notification_chain::visit_backwards;
use crate::store::sqlite::rows::record::{
    self, RECORD_COLUMNS, RENEWAL, notification_columns, record_columns,
};
use crate::store::{History, Part, Step, StoredNotification, is_api};

/// History of a message, with the requested part in full.
pub(crate) fn history(
    db: &Connection,
    cache: &Cache,
    id: MessageId,
    part: Part,
) -> rusqlite::Result<Option<History>> {
    const MESSAGE: &str = select_row!(record_columns!(), ", last");
    let cached = cache.read().get(id).cloned();
    // One transaction, so that record and history match.
    let snapshot = Snapshot::begin(db)?;
    let found = match cached {
        Some(entry) => Some((entry.record.as_deref().cloned(), entry.last)),
        None => cache.runs.current().row(&snapshot, MESSAGE, id, |row| {
            Ok((record::record(row)?, row.get::<_, i64>(RECORD_COLUMNS)?))
        })?,
    };
    let Some((record, last)) = found else { return Ok(None) };
    let mut steps = Vec::new();
    let read = visit_backwards(&snapshot, last, STEP_COLUMNS, |row| {
        if row.get::<_, i64>(1)? != RENEWAL {
            steps.push(step(row)?);
        }
        Ok(())
    });
    // A cached message may have been removed since.
    if read.optional()?.is_none() {
        return Ok(None);
    }
    steps.reverse();
    let (begin, end, bytes) = match part {
        Part::First { bytes } => (0, steps.len(), bytes),
        Part::Newest { count, before } => {
            let end = before
                .map_or(steps.len(), |before| steps.partition_point(|step| step.number < before));
            (end.saturating_sub(count), end, usize::MAX)
        }
    };
    let wanted = steps.get(begin..end).unwrap_or_default();
    let numbers: Vec<_> = wanted.iter().map(|step| step.number).collect();
    let in_full = notifications(&snapshot, &numbers, bytes)?;
    Ok(in_full.map(|in_full| History { record, steps, in_full, begin }))
}

/// Notifications with these numbers, up to `bytes` bytes of text; none if one of them was removed.
pub(crate) fn notifications(
    db: &Connection,
    numbers: &[i64],
    bytes: usize,
) -> rusqlite::Result<Option<Vec<StoredNotification>>> {
    const SELECT: &str =
        concat!("SELECT ", notification_columns!(), " FROM notification WHERE seq = ?");
    let mut select = db.prepare_cached(SELECT)?;
    let (mut all, mut read) = (Vec::new(), 0);
    for number in numbers {
        if read >= bytes {
            break;
        }
        let found =
            select.query_row([number], |row| record::stored_notification(row, 0)).optional()?;
        let Some(notification) = found else { return Ok(None) };
        read += notification.text_bytes();
        all.push(notification);
    }
    Ok(Some(all))
}

const STEP_COLUMNS: &str = "previous, kind, seq, source, status, stated_at, received_at, outcome";

/// Reads a notification without its texts, from [`STEP_COLUMNS`].
fn step(row: &Row<'_>) -> rusqlite::Result<Step> {
    let (Coded(status), Coded(outcome)) = (row.get(4)?, row.get(7)?);
    Ok(Step {
        number: row.get(2)?,
        by_api: is_api(row.get_ref(3)?.as_str()?),
        status,
        stated_at: row.get(5)?,
        received_at: row.get(6)?,
        outcome,
    })
}
