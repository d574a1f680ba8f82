//! Complete copies of the database in new blocks, durable before they are used.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode};
use rustix::fs::{CWD, RenameFlags, renameat_with, statvfs};
use rustix::io::Errno;

use super::lock::{Lock, beside, with_suffix};
use crate::store::sqlite::OpenError;

/// Copies the database and the content of its WAL to new blocks, and installs the copy with [`install`].
/// Nothing is written to the old blocks.
pub(crate) fn out(
    db: Connection,
    path: &Path,
    lock: &mut Lock,
    locks_inode: bool,
) -> Result<(), OpenError> {
    tracing::warn!(
        database = %path.display(),
        "the disk failed when it was written last; copying the data to new blocks"
    );
    durably(&db, path, &beside(path, "copied"))?;
    drop(db);
    install(path, lock, locks_inode)
}

/// Puts a complete copy in place of the database, with its inode locked. After an interruption the next call
/// finishes the work.
pub(crate) fn install(path: &Path, lock: &mut Lock, locks_inode: bool) -> Result<(), OpenError> {
    let copied = beside(path, "copied");
    if !copied.exists() {
        return Ok(());
    }
    if locks_inode {
        lock.hold(&copied)?;
    }
    let failed = |source| OpenError::File { path: copied.clone(), source };
    // The WAL belongs to the old database; SQLite would replay it into the new one.
    for suffix in ["-wal", "-shm"] {
        remove(&with_suffix(path, suffix)).map_err(failed)?;
    }
    sync_directory(path).map_err(failed)?;
    fs::rename(&copied, path).map_err(failed)?;
    sync_directory(path).map_err(failed)
}

/// Copies everything that this connection sees to a file that gets its name once it is durable.
pub(crate) fn durably(db: &Connection, path: &Path, copy: &Path) -> Result<(), OpenError> {
    let partial = beside(path, "partial");
    let file = |source| OpenError::File { path: partial.clone(), source };
    remove(&partial).map_err(file)?;
    require_space(path)?;
    make_private(&partial).map_err(file)?;
    let target = partial.to_string_lossy();
    db.execute("VACUUM INTO ?", [&*target]).map_err(|source| match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt) => OpenError::damaged(path, source.to_string()),
        _ => OpenError::Database { path: path.to_owned(), source },
    })?;
    keep(&partial, copy).map_err(file)
}

/// Makes a finished file durable and renames it.
pub(crate) fn keep(partial: &Path, name: &Path) -> io::Result<()> {
    File::open(partial)?.sync_all()?;
    fs::rename(partial, name)?;
    sync_directory(name)
}

/// Makes a finished file durable and renames it, unless a file with that name exists.
pub(crate) fn keep_new(partial: &Path, name: &Path) -> io::Result<()> {
    File::open(partial)?.sync_all()?;
    match renameat_with(CWD, partial, CWD, name, RenameFlags::NOREPLACE) {
        // Some file systems cannot do that in one step.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) if !name.exists() => {
            fs::rename(partial, name)?;
        }
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => return Err(Errno::EXIST.into()),
        renamed => renamed?,
    }
    sync_directory(name)
}

/// Files beside the database whose names continue with `kind`, in order, with the rest of their names.
pub(crate) fn named(path: &Path, kind: &str) -> io::Result<Vec<(PathBuf, OsString)>> {
    let prefix = with_suffix(Path::new(path.file_name().unwrap_or_default()), &format!(".{kind}"));
    let mut found = Vec::new();
    let directory = match fs::read_dir(directory(path)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        directory => directory?,
    };
    for entry in directory {
        let name = entry?.file_name();
        if let Some(rest) = name.as_bytes().strip_prefix(prefix.as_os_str().as_bytes()) {
            let rest = OsString::from_vec(rest.to_vec());
            found.push((path.with_file_name(&name), rest));
        }
    }
    found.sort();
    Ok(found)
}

/// Removes a file if it exists.
pub(crate) fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Creates the directory of a file if it does not exist, with access for its owner only.
pub fn make_private_directory(file: &Path) -> io::Result<()> {
    match file.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)
        }
        _ => Ok(()),
    }
}

/// Creates a file if it does not exist, with access for its owner only: it will hold phone numbers.
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Requires free space for a copy, which is at most as long as the database and its WAL.
fn require_space(path: &Path) -> Result<(), OpenError> {
    let needed = length(path);
    let failed = |error: Errno| OpenError::File { path: path.to_owned(), source: error.into() };
    let disk = statvfs(directory(path)).map_err(failed)?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if needed > free {
        return Err(OpenError::NoRoom { path: path.to_owned(), needed, free });
    }
    Ok(())
}

/// Length of the database and its WAL, in bytes.
pub(crate) fn length(path: &Path) -> u64 {
    let length = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
    length(path) + length(&with_suffix(path, "-wal"))
}

pub(crate) fn sync_directory(file: &Path) -> io::Result<()> {
    File::open(directory(file))?.sync_all()
}

/// Directory of a file.
pub(crate) fn directory(file: &Path) -> &Path {
    match file.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    }
}
