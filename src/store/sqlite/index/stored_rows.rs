//! Entries of rows that are stored, for a migration and for a check.

use rusqlite::{Connection, Row};

use super::blocks;
use super::entry::{IndexEntry, IndexKey, IndexSecret};
use crate::message::Destination;
use crate::store::sqlite::rows::column::Bytes16;

/// Messages whose entries are sorted together by [`fill`]: their entries take 40 MB.
const CHUNK_MESSAGES: i64 = 500_000;

/// Entries of a row of `message`, from the columns `n`, `id`, `list_order`, `destination` and `reference_key`, which
/// come first.
pub(crate) fn stored_entries(
    row: &Row<'_>,
    secret: &IndexSecret,
) -> rusqlite::Result<Vec<IndexEntry>> {
    let (n, Bytes16(id)) = (row.get(0)?, row.get(1)?);
    let mut entries = vec![IndexEntry::new(IndexKey::Id(id), 0, n)];
    let mut list = |key| -> rusqlite::Result<()> {
        entries.push(IndexEntry::new(key, row.get(2)?, n));
        Ok(())
    };
    if let Some(destination) = row.get::<_, Option<Destination>>(3)? {
        list(IndexKey::from(destination))?;
    }
    if let Some(key) = row.get_ref(4)?.as_str_or_null()? {
        list(IndexKey::of_reference(key, secret))?;
    }
    Ok(entries)
}

/// Adds the entries of all rows to the base of an index that has none yet.
pub(crate) fn fill(db: &Connection) -> rusqlite::Result<()> {
    const SELECT: &str = "SELECT n, id, list_order, destination, reference_key FROM message \
         WHERE n > ? AND n <= ?";
    let secret = db.query_row("SELECT index_secret FROM progress", [], |row| row.get(0))?;
    let secret = IndexSecret(secret);
    let last: i64 = db.query_row("SELECT indexed_n FROM progress", [], |row| row.get(0))?;
    let mut after = 0;
    while after < last {
        let mut entries = Vec::new();
        let mut select = db.prepare_cached(SELECT)?;
        let mut rows = select.query([after, last.min(after + CHUNK_MESSAGES)])?;
        while let Some(row) = rows.next()? {
            entries.extend(stored_entries(row, &secret)?);
        }
        entries.sort_unstable();
        blocks::add_to_base(db, &entries)?;
        after += CHUNK_MESSAGES;
    }
    Ok(())
}
