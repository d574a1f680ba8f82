//! Integrity checks of the database.
//!
//! The start runs SQLite's check with a short time limit. If the check does not finish, it goes on in small
//! pieces while the service works: a long read would hold up checkpoints.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use sha2::{Digest, Sha256};

use super::schema::{self, Found};
use super::wal_damage::{self, page_bytes_of};
use crate::store::sqlite::cache::append_list::AppendList;
use crate::store::sqlite::cache::entry::Entry;
use crate::store::sqlite::fail_stop::{Failure, StopCause};
use crate::store::sqlite::index::entry::IndexEntry;
use crate::store::sqlite::index::merged_entries::MergedEntries;
use crate::store::sqlite::index::runs::Runs;
use crate::store::sqlite::index::stored_rows::stored_entries;
use crate::store::sqlite::rows::record::{notification_columns, record_columns};
use crate::store::sqlite::write::replay::read_writer_state;
use crate::store::sqlite::write::write_back::rows;
use crate::store::sqlite::{OpenError, Settings, quarantine};

/// SQLite virtual-machine steps between two checks of the time limit. A step may be a page of a table with
/// all overflow pages of its rows: with large bodies 1,000 steps are hundreds of megabytes.
const STEPS_PER_CHECK: i32 = 20;
/// Messages checked in one read.
const CHUNK_MESSAGES: i64 = 1_000;

/// Temporary table for the cached records, which the file's own table lacks or has in an older state. It
/// hides that table by its name, and disappears with the connection.
const COPY_MESSAGES: &str = "CREATE TEMP TABLE message AS SELECT * FROM main.message WHERE 0";

/// Result of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// No damage found.
    Sound,
    /// No damage found within the time limit.
    Unfinished,
    /// Damage found, with SQLite's description.
    Damaged(String),
}

/// Checks the structure of the whole file with SQLite's `quick_check`, within this time limit. Writes
/// nothing.
pub(crate) fn quick_check(db: &Connection, time_limit: Duration) -> rusqlite::Result<Verdict> {
    let since = Instant::now();
    db.progress_handler(STEPS_PER_CHECK, Some(move || since.elapsed() > time_limit))?;
    let found = db.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    db.progress_handler(0, None::<fn() -> bool>)?;
    verdict(found)
}

/// Checks the whole file with its indexes, with SQLite's `integrity_check`.
pub(crate) fn full_check(db: &Connection) -> rusqlite::Result<Verdict> {
    verdict(db.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)))
}

fn verdict(found: rusqlite::Result<String>) -> rusqlite::Result<Verdict> {
    match found {
        Ok(result) if result == "ok" => Ok(Verdict::Sound),
        Ok(result) => Ok(Verdict::Damaged(result)),
        Err(error) => match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => Ok(Verdict::Unfinished),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Ok(Verdict::Damaged(error.to_string()))
            }
            _ => Err(error),
        },
    }
}

/// Checks all messages in small pieces: each must be found through its indexes, and have as many
/// notifications as its row says. Ends early when `may_continue` returns false.
pub(crate) fn check_messages(
    db: &Connection,
    mut may_continue: impl FnMut() -> bool,
) -> rusqlite::Result<Verdict> {
    const COUNT_WRONG: &str = "SELECT count(*) FROM message AS m WHERE n > ?1 AND n <= ?2 AND (\
             (WITH RECURSIVE chain (previous, shown) AS ( \
             SELECT previous, kind <> 3 FROM notification WHERE seq = m.last AND message = m.id \
             UNION ALL SELECT e.previous, e.kind <> 3 FROM chain JOIN notification AS e \
             ON e.seq = chain.previous AND e.message = m.id) \
             SELECT sum(shown) FROM chain) IS NOT notifications \
         OR (accepted_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM message \
             INDEXED BY message_by_acceptance WHERE list_order = m.list_order AND n = m.n)))";
    let last: i64 =
        db.query_row("SELECT coalesce(max(n), 0) FROM message", [], |row| row.get(0))?;
    let mut after = 0;
    while after < last {
        if !may_continue() {
            return Ok(Verdict::Unfinished);
        }
        let count = || -> rusqlite::Result<i64> {
            // One transaction, because a merge may go on.
            let snapshot = db.unchecked_transaction()?;
            let indexed: i64 =
                snapshot.query_row("SELECT indexed_n FROM progress", [], |row| row.get(0))?;
            let chunk = [after, indexed.min(after + CHUNK_MESSAGES)];
            let wrong: i64 =
                snapshot.prepare_cached(COUNT_WRONG)?.query_row(chunk, |row| row.get(0))?;
            Ok(wrong + count_missing_entries(&snapshot, chunk)?)
        };
        let wrong = count().map(|wrong| match wrong {
            0 => "ok".to_owned(),
            wrong => format!("messages that do not match their indexes or histories: {wrong}"),
        });
        let verdict = verdict(wrong)?;
        if verdict != Verdict::Sound {
            return Ok(verdict);
        }
        after += CHUNK_MESSAGES;
    }
    Ok(Verdict::Sound)
}

/// Number of entries that the index lacks, for the messages after the first number up to the second one.
fn count_missing_entries(db: &Connection, chunk: [i64; 2]) -> rusqlite::Result<i64> {
    const SELECT: &str = "SELECT n, id, list_order, destination, reference_key FROM message \
         WHERE n > ? AND n <= ?";
    let runs = Runs::read(db)?;
    let mut select = db.prepare_cached(SELECT)?;
    let mut rows = select.query(chunk)?;
    let mut missing = 0;
    while let Some(row) = rows.next()? {
        for entry in stored_entries(row, runs.secret())? {
            missing += i64::from(!runs.have(db, &entry)?);
        }
    }
    Ok(missing)
}

/// Checks that the index has no entries besides those of the messages.
fn check_index(db: &Connection) -> rusqlite::Result<Verdict> {
    const COUNT: &str = "SELECT count(*) + count(destination) + count(reference_key) \
         FROM message WHERE n <= (SELECT indexed_n FROM progress)";
    let runs = Runs::read(db)?.all();
    let mut entries = MergedEntries::new(db, &runs, IndexEntry::MIN, IndexEntry::MAX)?;
    let mut excess = -db.query_row(COUNT, [], |row| row.get::<_, i64>(0))?;
    while entries.next()?.is_some() {
        excess += 1;
    }
    Ok(match excess {
        0 => Verdict::Sound,
        excess => Verdict::Damaged(format!("excess entries in the index: {excess}")),
    })
}

/// Content of a sound database: row counts, and hashes that do not depend on the place of the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// The records.
    pub records: Hashed,
    /// The notifications.
    pub history: Hashed,
    /// The quarantine.
    pub quarantine: Hashed,
}

/// Number of rows, and their hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hashed {
    /// Number of rows.
    pub rows: u64,
    /// SHA-256 of all rows, in the order of their ids.
    pub sha256: [u8; 32],
}

/// Continues the check that the start did not wait for.
pub(crate) fn continue_check(db: &Connection, failure: &Failure, is_closing: &AtomicBool) {
    tracing::info!(
        "the last shutdown was not clean; the database check continues in the background"
    );
    let may_continue = || !is_closing.load(Ordering::Relaxed) && !failure.has_stopped();
    match check_messages(db, may_continue) {
        Ok(Verdict::Sound) => tracing::info!("the database is sound"),
        Ok(Verdict::Unfinished) => {}
        Ok(Verdict::Damaged(what)) => {
            tracing::error!(what, "the database is damaged; no further webhook is acknowledged");
            failure.stop(StopCause::Damaged);
        }
        Err(error) => tracing::warn!(%error, "the database check ended early"),
    }
}

/// Checks a database that no server has open, including its indexes, and returns its content. Writes nothing.
pub fn contents(path: &Path) -> Result<Contents, OpenError> {
    contents_once_open(path, || ())
}

/// Like [`contents`]; calls `opened` when the file is no longer needed under its name.
pub fn contents_once_open(path: &Path, opened: impl FnOnce()) -> Result<Contents, OpenError> {
    let failed = |source| OpenError::Database { path: path.to_owned(), source };
    let page_bytes = std::fs::File::open(path).ok().and_then(|mut file| page_bytes_of(&mut file));
    wal_damage::require_sound(path, page_bytes)?;
    let (db, found) = schema::open_existing(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    opened();
    if matches!(found, Found::Nothing) {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    for check in [full_check, |db: &_| check_messages(db, || true), check_index] {
        if let Verdict::Damaged(what) = check(&db).map_err(failed)? {
            return Err(OpenError::damaged(path, what));
        }
    }
    let hashed = || -> rusqlite::Result<Contents> {
        let everything = db.unchecked_transaction()?;
        // The cached records follow from the notification log.
        let mut state = read_writer_state(&everything, &Settings::new(path))?;
        everything.execute_batch(COPY_MESSAGES)?;
        for (id, entry) in state.cache.read().oldest() {
            let mut alone = Entry::clone(entry);
            (alone.row, alone.foreign_ids) = (None, AppendList::default());
            rows::write_row(&everything, &mut state.counters.last_n, id, &alone)?;
        }
        Ok(Contents {
            records: hash(
                &everything,
                concat!(
                    "SELECT id, notifications, ",
                    record_columns!(),
                    " FROM temp.message UNION ALL SELECT id, notifications, ",
                    record_columns!(),
                    " FROM main.message WHERE id NOT IN (SELECT id FROM temp.message) \
                     AND n <= (SELECT indexed_n FROM progress) ORDER BY id"
                ),
            )?,
            history: hash(
                &everything,
                concat!(
                    "SELECT message, identity, kind, ordered_at, accepted_at, segments, ",
                    notification_columns!(),
                    " FROM notification ORDER BY message, seq"
                ),
            )?,
            quarantine: hash(&everything, quarantine::SELECT_ALL)?,
        })
    };
    hashed().map_err(failed)
}

fn hash(db: &Connection, select: &str) -> rusqlite::Result<Hashed> {
    let mut statement = db.prepare(select)?;
    let columns = statement.column_count();
    let mut rows = statement.query([])?;
    let mut count = 0;
    let mut hash = Sha256::new();
    while let Some(row) = rows.next()? {
        count += 1;
        for column in 0..columns {
            let (kind, bytes) = match row.get_ref(column)? {
                ValueRef::Null => (b'0', Vec::new()),
                ValueRef::Integer(number) => (b'i', number.to_be_bytes().to_vec()),
                ValueRef::Real(number) => (b'r', number.to_be_bytes().to_vec()),
                ValueRef::Text(bytes) => (b't', bytes.to_vec()),
                ValueRef::Blob(bytes) => (b'b', bytes.to_vec()),
            };
            hash.update([kind]);
            hash.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(bytes);
        }
    }
    Ok(Hashed { rows: count, sha256: hash.finalize().into() })
}
