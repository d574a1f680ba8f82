//! Restore of a backup in place of the database.
//!
//! The new database is prepared beside the old one: a copy of the backup with the tombstones of both
//! databases, without the messages and entries that the tombstones name, and with a lineage of its own. Up to
//! then nothing else is changed, and a repeated restore starts over. The restore counts from the moment the
//! new database is renamed to `….restored-DATE`. If it is interrupted after that, the next restore or start
//! finishes it: the old files are renamed to `….before-restore-DATE`, and the new database gets the name of
//! the old one.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use rusqlite::{Connection, OpenFlags, params};

use super::claim::{claim, finish_restore, remove_unfinished_restore, with_date};
use super::schema::{self, Found};
use super::{integrity, unfinished_batch, wal_damage};
use crate::message::{MessageId, Timestamp};
use crate::store::QuarantineId;
use crate::store::sqlite::paths::{real_path, with_extension, with_suffix};
use crate::store::sqlite::rows::tombstones::HashKey;
use crate::store::sqlite::write::remove_messages;
use crate::store::sqlite::write::replay::read_writer_state;
use crate::store::sqlite::{OpenError, Settings, files};

/// Exclusive upper limit of lineages.
const MAX_LINEAGE: u32 = 1 << 13;
/// Messages removed per call.
const CHUNK_MESSAGES: usize = 1_000;

/// Result of a restore.
#[derive(Debug)]
pub struct Restored {
    /// Paths of the old files after the restore.
    pub set_aside: Vec<PathBuf>,
    /// Arrival of the last notification in the backup.
    pub last_arrival: Option<Timestamp>,
    /// Number of tombstones carried over from the old database.
    pub tombstones: u64,
    /// Number of messages and quarantined entries removed because a tombstone names them.
    pub removed: u64,
    /// Reason why the old tombstones could not be read, or not all of them.
    pub unread: Option<String>,
}

/// Restores this backup.
pub fn restore(settings: &Settings, backup: &Path, now: Timestamp) -> Result<Restored, OpenError> {
    let settings = &Settings { path: real_path(&settings.path), ..settings.clone() };
    let path = &settings.path;
    let file = |source| OpenError::File { path: path.clone(), source };
    let (mut lock, locks_inode) = claim(settings)?;
    let version = examine(path, backup)?;
    let new = with_extension(path, "restoring");
    let prepared = prepare(settings, backup, &new, version);
    let mut restored = match prepared {
        Ok(restored) => restored,
        Err(error) => {
            remove_unfinished_restore(path).map_err(file)?;
            return Err(error);
        }
    };
    files::persist(&new, &restored_path(path, now)).map_err(file)?;
    restored.set_aside = finish_restore(path, &mut lock, locks_inode)?;
    Ok(restored)
}

/// Checks that a backup can be restored, and returns its schema version.
fn examine(path: &Path, backup: &Path) -> Result<i64, OpenError> {
    let not_restorable =
        |why: &str| OpenError::NotRestorable { path: backup.to_owned(), why: why.to_owned() };
    let file = |source| OpenError::File { path: backup.to_owned(), source };
    let found = fs::metadata(backup).map_err(file)?;
    let is_database =
        fs::metadata(path).is_ok_and(|own| own.ino() == found.ino() && own.dev() == found.dev());
    if is_database {
        return Err(not_restorable("it is the database itself"));
    }
    if fs::metadata(with_suffix(backup, "-wal")).is_ok_and(|wal| wal.len() > 0) {
        return Err(not_restorable(
            "it has a -wal beside it, so it is not a backup but a part of a database",
        ));
    }
    let failed = |source| OpenError::Database { path: backup.to_owned(), source };
    // `immutable=1`, so that SQLite creates no file beside the backup.
    let name = percent_encode(backup.as_os_str().as_bytes(), NON_ALPHANUMERIC);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let db = Connection::open_with_flags(format!("file:{name}?immutable=1"), flags);
    let db = db.map_err(failed)?;
    let version = match schema::recognise(&db) {
        Ok(Found::Ours { version }) if version > schema::VERSION => {
            let (path, ours) = (backup.to_owned(), schema::VERSION);
            return Err(OpenError::Version { path, found: version, ours });
        }
        Ok(Found::Ours { version }) => version,
        Ok(Found::Nothing | Found::Foreign) => {
            return Err(OpenError::Foreign { path: backup.to_owned() });
        }
        Err(error) => return Err(OpenError::damaged(backup, error.to_string())),
    };
    match integrity::full_check(&db).map_err(failed)? {
        integrity::Verdict::Damaged(what) => Err(OpenError::damaged(backup, what)),
        integrity::Verdict::Sound | integrity::Verdict::Unfinished => Ok(version),
    }
}

/// Makes the new database, durable but not yet renamed.
fn prepare(
    settings: &Settings,
    backup: &Path,
    new: &Path,
    version: i64,
) -> Result<Restored, OpenError> {
    let file = |source| OpenError::File { path: new.to_owned(), source };
    let failed = |source| OpenError::Database { path: new.to_owned(), source };
    remove_unfinished_restore(&settings.path).map_err(file)?;
    let mut from =
        File::open(backup).map_err(|source| OpenError::File { path: backup.to_owned(), source })?;
    let mut to =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(new).map_err(file)?;
    io::copy(&mut from, &mut to).map_err(file)?;
    drop(to);
    let (mut db, _found) = schema::connect(new)?;
    schema::set_up(&db, new)?;
    if version < schema::VERSION {
        schema::migrate(&mut db, version).map_err(failed)?;
    }
    let old = OldDatabase::read(&settings.path);
    let restored = carry_over(&db, settings, &old).map_err(failed)?;
    // Without a WAL, so that the file needs no other file beside it.
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(failed)?;
    db.execute_batch("PRAGMA journal_mode = DELETE").map_err(failed)?;
    db.close().map_err(|(_still_open, source)| failed(source))?;
    Ok(restored)
}

/// Data of the old database that the restore carries over.
#[derive(Default)]
struct OldDatabase {
    lineage: Option<u32>,
    key: Option<HashKey>,
    tombstones: Vec<([u8; 16], Timestamp)>,
    /// Cut-off of tombstones; none before the first daily purge.
    tombstone_cutoff: Option<Timestamp>,
    unread: Option<String>,
}

impl OldDatabase {
    fn read(path: &Path) -> Self {
        if files::length(path) == 0 {
            let wal = files::length(&with_suffix(path, "-wal"));
            let unread = (wal > 0).then(|| format!("{} is missing or empty", path.display()));
            // Without a database nothing was erased.
            return Self { lineage: unread.is_none().then_some(0), unread, ..Self::default() };
        }
        // The part of a WAL before its damage is read all the same.
        let damage = wal_damage::require_sound(path, None).err().map(|error| error.to_string());
        match Self::read_tables(path) {
            Ok(old) => Self { unread: damage, ..old },
            Err(error) => Self { unread: Some(error), ..Self::default() },
        }
    }

    fn read_tables(path: &Path) -> Result<Self, String> {
        let to_text = |error: rusqlite::Error| error.to_string();
        let (db, _) = schema::open_existing(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
            .map_err(|error| error.to_string())?;
        // Earlier versions have neither lineage nor cut-off.
        let lineage = schema::lineage(&db).unwrap_or(0);
        let cutoff = db.query_row("SELECT erased_cutoff FROM progress", [], |row| row.get(0));
        let tombstone_cutoff = cutoff.unwrap_or(None);
        let key = db.query_row("SELECT hash_key FROM progress", [], |row| row.get(0));
        let mut select = db.prepare("SELECT hash, until FROM erased").map_err(to_text)?;
        let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).map_err(to_text)?;
        let tombstones = rows.collect::<Result<_, _>>().map_err(to_text)?;
        let key = Some(key.map_err(to_text)?);
        Ok(Self { lineage: Some(lineage), key, tombstones, tombstone_cutoff, unread: None })
    }
}

/// Begins a new lineage, and applies the tombstones of the old database and of the backup.
fn carry_over(
    db: &Connection,
    settings: &Settings,
    old: &OldDatabase,
) -> rusqlite::Result<Restored> {
    const KEEP_EARLIER_CUTOFF: &str = "UPDATE progress SET \
         erased_cutoff = min(coalesce(erased_cutoff, ?1), coalesce(?1, erased_cutoff))";
    let transaction = db.unchecked_transaction()?;
    let mut key: HashKey =
        transaction.query_row("SELECT hash_key FROM progress", [], |row| row.get(0))?;
    if let Some(old) = old.key.as_ref().filter(|_| !old.tombstones.is_empty()) {
        // Hashes mean nothing without the key under which they were made, so both keys are kept.
        key = old.and(&key);
        transaction.execute("UPDATE progress SET hash_key = ?", [key.bytes()])?;
    }
    for (hash, until) in &old.tombstones {
        const INSERT_TOMBSTONE: &str = "INSERT INTO erased (hash, until) VALUES (?, ?) \
             ON CONFLICT (hash) DO UPDATE SET until = max(until, excluded.until)";
        transaction.prepare_cached(INSERT_TOMBSTONE)?.execute(params![hash, until])?;
    }
    // One of the two clocks may have been ahead. With the earlier cut-off no tombstone ends too soon.
    transaction.execute(KEEP_EARLIER_CUTOFF, [old.tombstone_cutoff])?;
    let lineage = schema::lineage(&transaction)?;
    let lineage = match old.lineage {
        Some(old) => lineage.max(old) + 1,
        None => lineage + schema::UNKNOWN_LINEAGE_STEP,
    };
    schema::begin_lineage(&transaction, lineage % MAX_LINEAGE)?;
    let removed = remove_erased(&transaction, settings, &key)?;
    let last_arrival =
        transaction.query_row("SELECT max(received_at) FROM notification", [], |row| row.get(0))?;
    transaction.commit()?;
    Ok(Restored {
        set_aside: Vec::new(),
        last_arrival,
        tombstones: u64::try_from(old.tombstones.len()).unwrap_or(u64::MAX),
        removed,
        unread: old.unread.clone(),
    })
}

/// Removes the messages and quarantined entries that a tombstone names. Returns their number.
fn remove_erased(db: &Connection, settings: &Settings, key: &HashKey) -> rusqlite::Result<u64> {
    let names = |select: &str| -> rusqlite::Result<Vec<[u8; 16]>> {
        db.prepare(select)?.query_map([], |row| row.get(0))?.collect()
    };
    let hashes: HashSet<[u8; 16]> = names("SELECT hash FROM erased")?.into_iter().collect();
    if hashes.is_empty() {
        return Ok(0);
    }
    let erased = |name: &[u8; 16]| key.hashes(name).any(|hash| hashes.contains(&hash));
    let messages: Vec<_> = names("SELECT DISTINCT message FROM notification")?
        .into_iter()
        .filter(erased)
        .map(MessageId::from_bytes)
        .collect();
    let entries: Vec<_> = names("SELECT id FROM quarantine UNION SELECT id FROM quarantine_6")?
        .into_iter()
        .filter(erased)
        .map(QuarantineId::from_bytes)
        .collect();
    unfinished_batch::discard(db)?;
    let mut state = read_writer_state(db, settings)?;
    let mut removed = 0;
    for messages in messages.chunks(CHUNK_MESSAGES) {
        removed += remove_messages::remove(db, &mut state, messages, None)?;
        state.publish();
    }
    removed += remove_messages::remove_quarantined(db, &mut state, &entries, None)?;
    Ok(removed)
}

/// Name that makes a restore count, with a date that no other restore has.
fn restored_path(path: &Path, now: Timestamp) -> PathBuf {
    let now = now.to_string();
    let seconds = now.split(['.', 'Z']).next().unwrap_or_default();
    let date: String =
        seconds.chars().filter(|c| !matches!(c, '-' | ':')).collect::<String>() + "Z";
    let is_free = |date: &OsString| !with_date(path, "before-restore-", date).exists();
    let numbered = (1..).map(|number: u32| match number {
        1 => OsString::from(&date),
        _ => OsString::from(format!("{date}-{number}")),
    });
    let date = numbered.into_iter().find(is_free).unwrap_or_default();
    with_date(path, "restored-", &date)
}
