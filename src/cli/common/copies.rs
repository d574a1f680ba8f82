//! Copies: files that may hold data which an erasure removes, besides the database and its WAL. A migration,
//! a restore, a backup or an interrupted command leaves them.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::store::sqlite;

/// Suffixes of the files of a database in use, which are not copies. The marker files among them are short.
const DATABASE_SUFFIXES: [&str; 7] = ["", "-wal", "-shm", ".lock", ".sock", ".failed", ".clean"];
/// Offset of the application id in an SQLite database, in bytes.
const APPLICATION_ID_OFFSET: u64 = 68;

/// Every copy in the directory of the database: files whose name begins with the database's, except those of
/// a database in use, and every other database of this program.
pub(crate) fn find_copies(database: &Path) -> io::Result<Vec<PathBuf>> {
    let directory = match database.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    };
    let name = database.file_name().unwrap_or_default().to_string_lossy();
    let mut copies = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        // Links are not followed: their target is in another place, and is named there.
        if !entry.file_type()?.is_file() {
            continue;
        }
        let other = entry.file_name();
        let other = other.to_string_lossy();
        let is_copy = match other.strip_prefix(&*name) {
            Some(suffix) => !DATABASE_SUFFIXES.contains(&suffix),
            None => is_ours(&entry.path()).unwrap_or(false),
        };
        if is_copy {
            copies.push(entry.path());
        }
    }
    copies.sort_unstable();
    Ok(copies)
}

/// Whether a file is a database of this program.
fn is_ours(file: &Path) -> io::Result<bool> {
    let mut file = File::open(file)?;
    let mut id = [0; 4];
    file.seek(SeekFrom::Start(APPLICATION_ID_OFFSET))?;
    file.read_exact(&mut id)?;
    Ok(sqlite::is_application_id(i64::from(i32::from_be_bytes(id))))
}
