//! Replay of the notification log: brings the cache up to date at a start.

use std::sync::Arc;

use rusqlite::Connection;

use super::state::WriterState;
use crate::message::Record;
use crate::store::sqlite::Settings;
use crate::store::sqlite::cache::entry::Entry;
use crate::store::sqlite::cache::load::load;
use crate::store::sqlite::index::blocks::select_row;
use crate::store::sqlite::rows::record::{logged, logged_columns};

/// Reads the writer state from the tables, and replays the notification log into the cache.
pub(crate) fn read_writer_state(
    db: &Connection,
    settings: &Settings,
) -> rusqlite::Result<WriterState> {
    let mut state = WriterState::read(db, settings)?;
    let replayed = replay(db, &mut state)?;
    tracing::debug!(replayed, "read the log");
    Ok(state)
}

/// Replays the part of the notification log that the tables lack. Returns the number of notifications.
fn replay(db: &Connection, state: &mut WriterState) -> rusqlite::Result<u64> {
    const SELECT: &str = concat!(
        "SELECT ",
        logged_columns!(),
        " FROM notification WHERE seq > (SELECT folded FROM progress) ORDER BY seq"
    );
    const LAST: &str = select_row!("last");
    let mut select = db.prepare(SELECT)?;
    let mut rows = select.query([])?;
    let mut replayed = 0;
    while let Some(row) = rows.next()? {
        let logged = logged(row, 0)?;
        let id = logged.notification.statement().message;
        let known = match state.changes.entry(id, &state.cache) {
            Some(known) => Some(known),
            // A message is written back with all its notifications, also those after the oldest of other
            // messages.
            None => match state.write_back.runs.row(db, LAST, id, |row| row.get::<_, i64>(0))? {
                Some(last) if last >= logged.seq => continue,
                Some(_) => load(db, &state.write_back.runs, id)?.map(Arc::new),
                None => None,
            },
        };
        let before = known.as_ref().and_then(|entry| entry.record.as_deref());
        let judged =
            Record::judge(before, &logged.notification, logged.arrived_at, logged.is_renewal);
        let identity = logged.notification.identity();
        let entry = Entry::after(
            known.as_deref(),
            logged.seq,
            (!logged.is_renewal).then_some(identity),
            logged.foreign_id,
            judged.record.map(Arc::new),
        );
        state.changes.put(id, entry);
        replayed += 1;
    }
    state.publish();
    Ok(replayed)
}
