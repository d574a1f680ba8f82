//! Files that may hold what an erasure removes, besides the database and its WAL: copies that a migration,
//! a restore, a backup or an interrupted command has left.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::store::sqlite;

/// What is no copy: files of a database in use, behind its name. Of the marks the text is short.
const IN_USE: [&str; 7] = ["", "-wal", "-shm", ".lock", ".sock", ".failed", ".clean"];
/// Where SQLite keeps the application id in a database.
const APPLICATION_ID_AT: u64 = 68;

/// Every copy in the directory of the database: whatever has its name with more behind it, and every
/// database of this program.
pub(super) fn beside(database: &Path) -> io::Result<Vec<PathBuf>> {
    let directory = match database.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    };
    let name = database.file_name().unwrap_or_default().to_string_lossy();
    let mut copies = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        // Links are not followed: what they lead to is elsewhere, and named there.
        if !entry.file_type()?.is_file() {
            continue;
        }
        let other = entry.file_name();
        let other = other.to_string_lossy();
        let is_copy = match other.strip_prefix(&*name) {
            Some(suffix) => !IN_USE.contains(&suffix),
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
    file.seek(SeekFrom::Start(APPLICATION_ID_AT))?;
    file.read_exact(&mut id)?;
    Ok(sqlite::is_application_id(i64::from(i32::from_be_bytes(id))))
}
