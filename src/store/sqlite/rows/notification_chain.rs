//! Chain of a message's notifications, from the last one back.

use rusqlite::Connection;

/// Visits the notifications of a message, the last one first. The first of the columns must be `previous`.
pub(crate) fn visit_backwards(
    db: &Connection,
    last: i64,
    columns: &str,
    mut visit: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut select =
        db.prepare_cached(&format!("SELECT {columns} FROM notification WHERE seq = ?"))?;
    let mut next = Some(last);
    while let Some(seq) = next {
        next = select.query_row([seq], |row| {
            visit(row)?;
            row.get(0)
        })?;
    }
    Ok(())
}
