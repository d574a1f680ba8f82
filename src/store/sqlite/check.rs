//! Is the database sound?
//!
//! The start asks SQLite, but does not wait for long. What it could not finish goes on while the
//! service works, in small pieces: a long read would keep the WAL from being taken over.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use sha2::{Digest, Sha256};

use super::appended::Appended;
use super::entry::Entry;
use super::failure::{Failed, Failure};
use super::ledger::Ledger;
use super::open::Settings;
use super::row::{record_columns, said_columns};
use super::schema::{self, Found};
use super::wal::page_bytes_of;
use super::{OpenError, fold, quarantine, wal};

/// How many of SQLite's steps go by between two looks at the clock. A step may be a page of a table with all
/// overflow pages of its rows: of large bodies 1,000 steps are hundreds of megabytes.
const STEPS_BETWEEN_LOOKS: i32 = 20;
/// How many messages are looked at in one read.
const AT_A_TIME: i64 = 1_000;

/// A table for the records that the file's own has not as they are; it hides that one, and is gone with
/// the connection.
const UNFOLDED: &str = "CREATE TEMP TABLE message AS SELECT * FROM main.message WHERE 0";

/// What a check came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing is wrong.
    Sound,
    /// Nothing was found to be wrong in the time that there was.
    Unfinished,
    /// This is wrong.
    Damaged(String),
}

/// Lets SQLite check the structure of the whole file, for so long. Writes nothing.
pub(super) fn quickly(db: &Connection, within: Duration) -> rusqlite::Result<Verdict> {
    let since = Instant::now();
    db.progress_handler(STEPS_BETWEEN_LOOKS, Some(move || since.elapsed() > within))?;
    let said = db.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    db.progress_handler(0, None::<fn() -> bool>)?;
    verdict(said)
}

/// Lets SQLite check the whole file with its indexes.
pub(super) fn wholly(db: &Connection) -> rusqlite::Result<Verdict> {
    verdict(db.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)))
}

fn verdict(said: rusqlite::Result<String>) -> rusqlite::Result<Verdict> {
    match said {
        Ok(words) if words == "ok" => Ok(Verdict::Sound),
        Ok(words) => Ok(Verdict::Damaged(words)),
        Err(error) => match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => Ok(Verdict::Unfinished),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Ok(Verdict::Damaged(error.to_string()))
            }
            _ => Err(error),
        },
    }
}

/// Reads everything in small pieces: every message must be found by what it is looked for by, and
/// have as many notifications as it says. Ends early when it is not to go on.
pub(super) fn in_pieces(
    db: &Connection,
    mut go_on: impl FnMut() -> bool,
) -> rusqlite::Result<Verdict> {
    const PIECE: &str = "SELECT count(*) FROM message AS m WHERE n > ?1 AND n <= ?2 AND ( \
         (SELECT n FROM message WHERE id = m.id) IS NOT n \
         OR (WITH RECURSIVE said (previous, shown) AS ( \
             SELECT previous, kind <> 3 FROM notification WHERE seq = m.last AND message = m.id \
             UNION ALL SELECT e.previous, e.kind <> 3 FROM said JOIN notification AS e \
             ON e.seq = said.previous AND e.message = m.id) \
             SELECT sum(shown) FROM said) IS NOT notifications \
         OR (destination IS NOT NULL AND NOT EXISTS (SELECT 1 FROM message \
             INDEXED BY message_by_destination WHERE destination = m.destination \
             AND accepted_at IS m.accepted_at AND n = m.n)) \
         OR (reference_key IS NOT NULL AND NOT EXISTS (SELECT 1 FROM message \
             INDEXED BY message_by_reference WHERE reference_key = m.reference_key \
             AND accepted_at IS m.accepted_at AND n = m.n)) \
         OR (accepted_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM message \
             INDEXED BY message_by_acceptance WHERE accepted_at = m.accepted_at AND id = m.id \
             AND n = m.n)))";
    let last: i64 =
        db.query_row("SELECT coalesce(max(n), 0) FROM message", [], |row| row.get(0))?;
    let mut after = 0;
    while after < last {
        if !go_on() {
            return Ok(Verdict::Unfinished);
        }
        let wrong = db
            .prepare_cached(PIECE)?
            .query_row([after, after + AT_A_TIME], |row| row.get::<_, i64>(0))
            .map(|wrong| match wrong {
                0 => "ok".to_owned(),
                wrong => format!("{wrong} messages do not fit their indexes or histories"),
            });
        let verdict = verdict(wrong)?;
        if verdict != Verdict::Sound {
            return Ok(verdict);
        }
        after += AT_A_TIME;
    }
    Ok(Verdict::Sound)
}

/// What is in a sound database: how much, and a hash of it that does not depend on where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// The records.
    pub records: Hashed,
    /// The notifications.
    pub history: Hashed,
    /// The quarantine.
    pub quarantine: Hashed,
}

/// How many rows there are, and their hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hashed {
    /// How many.
    pub rows: u64,
    /// The SHA-256 of them all, in the order of their names.
    pub sha256: [u8; 32],
}

/// Goes on with the check that the start did not wait for.
pub(super) fn go_on(db: &Connection, failure: &Failure, ends: &AtomicBool) {
    tracing::info!("the last stop was not in order; the check of the database goes on meanwhile");
    let goes_on = || !ends.load(Ordering::Relaxed) && !failure.happened();
    match in_pieces(db, goes_on) {
        Ok(Verdict::Sound) => tracing::info!("the database is sound"),
        Ok(Verdict::Unfinished) => {}
        Ok(Verdict::Damaged(what)) => {
            tracing::error!(what, "the database is damaged; nothing is acknowledged any more");
            failure.tell(Failed::Damaged);
        }
        Err(error) => tracing::warn!(%error, "the check of the database broke off"),
    }
}

/// Checks a database that no server has open, index by index, and says what is in it. Writes
/// nothing.
pub fn contents(path: &Path) -> Result<Contents, OpenError> {
    contents_once_open(path, || ())
}

/// The same; calls `opened` when the file is not needed under its name any more.
pub fn contents_once_open(path: &Path, opened: impl FnOnce()) -> Result<Contents, OpenError> {
    let failed = |source| OpenError::Database { path: path.to_owned(), source };
    let page_bytes = std::fs::File::open(path).ok().and_then(|mut file| page_bytes_of(&mut file));
    wal::require_sound(path, page_bytes)?;
    let (db, found) = schema::look(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    opened();
    if matches!(found, Found::Nothing) {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    if let Verdict::Damaged(what) = wholly(&db).map_err(failed)? {
        return Err(OpenError::damaged(path, what));
    }
    let hashed = || -> rusqlite::Result<Contents> {
        let everything = db.unchecked_transaction()?;
        // What the records lack is in the log.
        let mut ledger = Ledger::read(&everything, &Settings::new(path))?;
        everything.execute_batch(UNFOLDED)?;
        for (id, entry) in ledger.committed.now().oldest() {
            let mut alone = Entry::clone(entry);
            (alone.row, alone.foreign_ids) = (None, Appended::default());
            fold::fold(&everything, &mut ledger.last_n, id, &alone)?;
        }
        Ok(Contents {
            records: hash(
                &everything,
                concat!(
                    "SELECT id, notifications, ",
                    record_columns!(),
                    " FROM temp.message UNION ALL SELECT id, notifications, ",
                    record_columns!(),
                    " FROM main.message WHERE id NOT IN (SELECT id FROM temp.message) ORDER BY id"
                ),
            )?,
            history: hash(
                &everything,
                concat!(
                    "SELECT message, identity, kind, ordered_at, accepted_at, segments, ",
                    said_columns!(),
                    " FROM notification ORDER BY message, seq"
                ),
            )?,
            quarantine: hash(&everything, quarantine::EVERYTHING)?,
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
