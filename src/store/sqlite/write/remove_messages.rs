//! Removal of messages and of quarantined entries, inside the writer's transaction.

use rusqlite::{Connection, params};

use super::state::WriterState;
use crate::message::{MessageId, Timestamp};
use crate::store::QuarantineId;
use crate::store::sqlite::quarantine;
use crate::store::sqlite::rows::notification_chain::visit_backwards;
use crate::store::sqlite::rows::tombstones::add_tombstone;

/// Removes these messages with their histories. With `until`, leaves tombstones that last until then.
pub(crate) fn remove(
    db: &Connection,
    state: &mut WriterState,
    messages: &[MessageId],
    until: Option<Timestamp>,
) -> rusqlite::Result<u64> {
    const RECORD_LAST_SEQ: &str = "UPDATE progress SET last_seq = max(last_seq, ?), last_n = max(last_n, ?), \
         without_number = ?";
    let mut removed = 0;
    for id in messages {
        let Some(known) = state.entry(db, *id)? else { continue };
        let n = known.row.as_ref().map(|row| row.n);
        state.removed(db, *id, &known)?;
        if let Some(until) = until {
            add_tombstone(db, &state.hash_key, id.as_bytes(), until)?;
            state.counters.any_erased = true;
        }
        let mut rows = Vec::new();
        visit_backwards(db, known.last, "previous, seq, source, provider_id", |row| {
            rows.push((row.get(1)?, row.get::<_, String>(2)?, row.get::<_, String>(3)?));
            Ok(())
        })?;
        for (seq, source, provider_id) in &rows {
            let seq: &i64 = seq;
            db.prepare_cached("DELETE FROM notification WHERE seq = ?")?.execute([seq])?;
            db.prepare_cached("DELETE FROM foreign_id WHERE source = ? AND id = ? AND n = ?")?
                .execute(params![source, provider_id, n])?;
        }
        db.prepare_cached("DELETE FROM message WHERE n = ?")?.execute([n])?;
        db.prepare_cached(RECORD_LAST_SEQ)?.execute(params![
            known.last,
            n.unwrap_or(0),
            state.counters.rows_without_destination
        ])?;
        removed += 1;
    }
    Ok(removed)
}

/// Removes these quarantined entries. With `until`, leaves tombstones that last until then.
pub(crate) fn remove_quarantined(
    db: &Connection,
    state: &mut WriterState,
    entries: &[QuarantineId],
    until: Option<Timestamp>,
) -> rusqlite::Result<u64> {
    let mut removed = 0;
    for id in entries {
        if let Some(until) = until {
            add_tombstone(db, &state.hash_key, id.as_bytes(), until)?;
            state.counters.any_erased = true;
        }
        removed += u64::from(quarantine::remove(db, &mut state.counters.quarantine, *id)?);
    }
    Ok(removed)
}
