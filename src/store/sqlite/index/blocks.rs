//! Blocks: the entries of a run lie in blocks, each of which fills a page of the file.
//!
//! A block begins at its start, and has all entries of its run from there to the start of the next one. The first
//! block of a run starts before every entry, so each entry has a block to which it belongs.

use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::{FromSqlError, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::entry::{BASE, ENTRY_BYTES, IndexEntry};

/// Maximum number of entries in a block, which then fills a page of 4,096 bytes.
pub(crate) const BLOCK_ENTRIES: usize = 160;
/// Maximum number of entries of each block when one is divided, so that it has room for later ones.
const DIVIDED_ENTRIES: usize = 128;

/// Query for the first block of run `?1` that meets the condition and comes first in the order.
macro_rules! select_block {
    ($condition_and_order:literal) => {
        concat!(
            "SELECT b, start, entries FROM index_block_start CROSS JOIN index_block USING (b) \
             WHERE run = ?1 AND ",
            $condition_and_order,
            " LIMIT 1"
        )
    };
}

/// A block with its entries.
pub(crate) struct Block {
    run: i64,
    /// Its row.
    b: i64,
    start: IndexEntry,
    /// In their order.
    pub(crate) entries: Vec<IndexEntry>,
}

impl Block {
    /// Block of a run to which an entry belongs; none if the run is empty.
    pub(crate) fn of(
        db: &Connection,
        run: i64,
        entry: &IndexEntry,
    ) -> rusqlite::Result<Option<Self>> {
        const SELECT: &str = select_block!("start <= ?2 ORDER BY start DESC");
        let read = |row: &Row<'_>| Self::read(run, row);
        db.prepare_cached(SELECT)?.query_row(params![run, entry.0], read).optional()
    }

    /// The next block of the run; none after the last one.
    pub(crate) fn next(&self, db: &Connection) -> rusqlite::Result<Option<Self>> {
        const SELECT: &str = select_block!("start > ?2 ORDER BY start");
        let read = |row: &Row<'_>| Self::read(self.run, row);
        db.prepare_cached(SELECT)?.query_row(params![self.run, self.start.0], read).optional()
    }

    /// Start of the next block of the run; none after the last one.
    pub(crate) fn next_start(&self, db: &Connection) -> rusqlite::Result<Option<IndexEntry>> {
        const SELECT: &str = "SELECT min(start) FROM index_block_start WHERE run = ? AND start > ?";
        let start: Option<_> = db
            .prepare_cached(SELECT)?
            .query_row(params![self.run, self.start.0], |row| row.get(0))?;
        Ok(start.map(IndexEntry))
    }

    fn read(run: i64, row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            run,
            b: row.get(0)?,
            start: IndexEntry(row.get(1)?),
            entries: stored(row.get_ref(2)?)?.iter().map(|bytes| IndexEntry(*bytes)).collect(),
        })
    }

    /// Replaces the entries of the stored block by these, which may be too many for one block.
    fn store(&self, db: &Connection, entries: &[IndexEntry]) -> rusqlite::Result<()> {
        const UPDATE: &str = "UPDATE index_block SET entries = ? WHERE b = ?";
        let mut parts = divided(entries);
        let first = parts.next().unwrap_or_default();
        db.prepare_cached(UPDATE)?.execute(params![packed(first), self.b])?;
        for part in parts {
            insert(db, BASE, part.first().unwrap_or(&self.start), part)?;
        }
        Ok(())
    }
}

/// Parts of these entries that fit into a block each.
fn divided(entries: &[IndexEntry]) -> impl Iterator<Item = &[IndexEntry]> {
    let parts =
        if entries.len() <= BLOCK_ENTRIES { 1 } else { entries.len().div_ceil(DIVIDED_ENTRIES) };
    entries.chunks(entries.len().div_ceil(parts).max(1))
}

/// Adds a block to a run.
pub(crate) fn insert(
    db: &Connection,
    run: i64,
    start: &IndexEntry,
    entries: &[IndexEntry],
) -> rusqlite::Result<()> {
    const INSERT: &str = "INSERT INTO index_block (entries) VALUES (?)";
    const INSERT_START: &str = "INSERT INTO index_block_start (run, start, b) VALUES (?, ?, ?)";
    db.prepare_cached(INSERT)?.execute([packed(entries)])?;
    db.prepare_cached(INSERT_START)?
        .execute(params![run, start.0, db.last_insert_rowid()])
        .map(drop)
}

/// Adds entries, which are in their order, to the base. One that it has already stays as it is.
pub(crate) fn add_to_base(db: &Connection, entries: &[IndexEntry]) -> rusqlite::Result<()> {
    let mut rest = entries;
    while let Some(first) = rest.first() {
        let Some(block) = Block::of(db, BASE, first)? else {
            insert(db, BASE, &IndexEntry::MIN, &[])?;
            continue;
        };
        let next_start = block.next_start(db)?;
        let own = rest.partition_point(|entry| next_start.is_none_or(|next| *entry < next));
        let (own, later) = rest.split_at(own);
        let mut all = Vec::with_capacity(block.entries.len() + own.len());
        all.extend_from_slice(&block.entries);
        all.extend_from_slice(own);
        // This sort finds that both parts are in order, and merges them.
        all.sort();
        all.dedup();
        block.store(db, &all)?;
        rest = later;
    }
    Ok(())
}

/// Removes an entry from a run, if the run has it.
pub(crate) fn remove(db: &Connection, run: i64, entry: &IndexEntry) -> rusqlite::Result<()> {
    let Some(mut block) = Block::of(db, run, entry)? else { return Ok(()) };
    let Ok(place) = block.entries.binary_search(entry) else { return Ok(()) };
    block.entries.remove(place);
    if block.entries.is_empty() && block.start != IndexEntry::MIN {
        return delete(db, run, &block.start, block.b);
    }
    block.store(db, &block.entries)
}

/// Deletes blocks of the runs up to this one, except the base, at most `most`. Returns their number.
pub(crate) fn delete_some(db: &Connection, last_run: i64, most: usize) -> rusqlite::Result<usize> {
    const SELECT: &str =
        "SELECT run, start, b FROM index_block_start WHERE run > 0 AND run <= ? LIMIT ?";
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let blocks: Vec<(i64, _, i64)> = db
        .prepare_cached(SELECT)?
        .query_map([last_run, most], |row| Ok((row.get(0)?, IndexEntry(row.get(1)?), row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (run, start, b) in &blocks {
        delete(db, *run, start, *b)?;
    }
    Ok(blocks.len())
}

fn delete(db: &Connection, run: i64, start: &IndexEntry, b: i64) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM index_block_start WHERE run = ? AND start = ?")?
        .execute(params![run, start.0])?;
    db.prepare_cached("DELETE FROM index_block WHERE b = ?")?.execute([b]).map(drop)
}

/// The last entry that is not after this one, in the block of a run to which this one belongs.
pub(crate) fn last_up_to(
    db: &Connection,
    run: i64,
    entry: &IndexEntry,
) -> rusqlite::Result<Option<IndexEntry>> {
    const SELECT: &str = select_block_of!("entries");
    let last = db
        .prepare_cached(SELECT)?
        .query_row(params![run, entry.0], |row| Ok(last_of(stored(row.get_ref(0)?)?, entry)));
    Ok(last.optional()?.flatten())
}

/// The last of these entries that is not after this one.
fn last_of(entries: &[[u8; ENTRY_BYTES]], entry: &IndexEntry) -> Option<IndexEntry> {
    let after = entries.partition_point(|bytes| *bytes <= entry.0);
    after.checked_sub(1).and_then(|last| entries.get(last)).map(|bytes| IndexEntry(*bytes))
}

/// Query for a column of the block in run `?1` to which entry `?2` belongs.
macro_rules! select_block_of {
    ($column:literal) => {
        concat!(
            "SELECT ",
            $column,
            " FROM index_block WHERE b = (SELECT b FROM index_block_start \
             WHERE run = ?1 AND start <= ?2 ORDER BY start DESC LIMIT 1)"
        )
    };
}
pub(crate) use select_block_of;

/// Query for these columns of the row in `message` that run `?1` lists under a key. `?2` is the greatest entry that
/// the key can have.
macro_rules! select_row {
    ($($columns:tt)+) => {
        concat!(
            "SELECT ",
            $($columns)+,
            " FROM message WHERE n = row_of_last_entry((",
            $crate::store::sqlite::index::blocks::select_block_of!("entries"),
            "), ?2)"
        )
    };
}
pub(crate) use select_row;

/// Adds to a connection what the queries of the index use: lists of row numbers as parameters, and the function
/// `row_of_last_entry`.
pub(crate) fn add_functions(db: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        | FunctionFlags::SQLITE_DIRECTONLY;
    rusqlite::vtab::array::load_module(db)?;
    db.create_scalar_function("row_of_last_entry", 2, flags, row_of_last_entry)
}

/// Row of the last entry of a block that is not after the given one, if both entries have the same key.
fn row_of_last_entry(arguments: &Context<'_>) -> rusqlite::Result<Option<i64>> {
    let entry = IndexEntry(arguments.get(1)?);
    let block = arguments.get_raw(0);
    if block == ValueRef::Null {
        return Ok(None);
    }
    let last = last_of(stored(block)?, &entry).filter(|last| last.key() == entry.key());
    Ok(last.map(|last| last.n()))
}

/// Entries as a block stores them. The room behind the last one is filled with the greatest byte, so that a block
/// never changes its length, and all its bytes are in order.
fn packed(entries: &[IndexEntry]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(BLOCK_ENTRIES * ENTRY_BYTES);
    for entry in entries {
        bytes.extend_from_slice(&entry.0);
    }
    bytes.resize(BLOCK_ENTRIES * ENTRY_BYTES, u8::MAX);
    bytes
}

/// Entries that a block stores.
fn stored(block: ValueRef<'_>) -> rusqlite::Result<&[[u8; ENTRY_BYTES]]> {
    let (entries, []) = block.as_blob()?.as_chunks() else {
        return Err(FromSqlError::InvalidType.into());
    };
    let count = entries.partition_point(|entry| *entry < IndexEntry::MAX.0);
    Ok(entries.get(..count).unwrap_or_default())
}
