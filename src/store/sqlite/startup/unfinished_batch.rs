//! Batch of the write-back that the last process did not finish.

use rusqlite::{Connection, OptionalExtension, params};

use crate::store::sqlite::rows::notification_chain::visit_backwards;
use crate::store::sqlite::rows::record::REPORT_BY_FOREIGN_ID;

/// Removes the new rows of a batch that was not finished, and their entries in the index: the notification log
/// will be replayed from before it. Also removes what is left of runs that were merged.
pub(crate) fn discard(db: &Connection) -> rusqlite::Result<()> {
    const SELECT: &str = "SELECT n, last FROM message WHERE n > (SELECT indexed_n FROM progress)";
    let rows: Vec<(i64, i64)> = db
        .prepare(SELECT)?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (n, last) in &rows {
        visit_backwards(db, *last, "previous, kind, source, provider_id", |row| {
            if row.get::<_, i64>(1)? == REPORT_BY_FOREIGN_ID {
                db.prepare_cached("DELETE FROM foreign_id WHERE source = ? AND id = ? AND n = ?")?
                    .execute(params![row.get::<_, String>(2)?, row.get::<_, String>(3)?, n])?;
            }
            Ok(())
        })
        .optional()?;
    }
    db.execute_batch(
        "UPDATE progress SET last_n = max(last_n, (SELECT coalesce(max(n), 0) FROM message)), \
             without_number = without_number - (SELECT count(*) FROM message \
                 WHERE n > indexed_n AND status IS NOT NULL AND destination IS NULL);
         DELETE FROM message WHERE n > (SELECT indexed_n FROM progress);
         DELETE FROM index_block WHERE b IN (SELECT b FROM index_block_start \
             WHERE run > 0 AND run NOT IN (SELECT run FROM index_run));
         DELETE FROM index_block_start WHERE run > 0 AND run NOT IN (SELECT run FROM index_run);",
    )
}
