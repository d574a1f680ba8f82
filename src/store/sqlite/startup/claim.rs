//! Claim of a database for this process: takes the locks, and finishes an installation or restore that an
//! earlier process began.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{fs, io};

use rustix::fs::statfs;

use super::file_copy;
use super::lock::{self, Lock};
use crate::store::sqlite::files;
use crate::store::sqlite::paths::{directory, with_extension, with_suffix};
use crate::store::sqlite::{OpenError, Settings};

/// Suffixes of a database's files, in the order in which they are set aside.
const DATABASE_SUFFIXES: [&str; 3] = ["-wal", "-shm", ""];

/// File systems whose locks or syncs are unreliable, by their `statfs(2)` magic numbers.
const UNRELIABLE_FILESYSTEMS: [(u64, &str); 6] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x6573_5546, "FUSE"),
    (0x0102_1997, "9P"),
];

/// Takes the locks and finishes an installation or restore that an earlier process began. Returns whether the
/// database's inode is locked too.
pub(crate) fn claim(settings: &Settings) -> Result<(Lock, bool), OpenError> {
    let path = &settings.path;
    files::make_private_directory(path)
        .map_err(|source| OpenError::File { path: path.clone(), source })?;
    let mut lock = lock::take(path, settings.lock_wait)?;
    let locks_inode = locks_inode(path, settings.allow_network_filesystem)?;
    if locks_inode {
        lock.hold(path)?;
    }
    file_copy::install(path, &mut lock, locks_inode)?;
    finish_restore(path, &mut lock, locks_inode)?;
    Ok((lock, locks_inode))
}

/// Whether to lock the database's inode. Rejects an unreliable file system unless `any` allows it: of the
/// unreliable ones, only FUSE keeps this lock and SQLite's locks apart.
fn locks_inode(path: &Path, any: bool) -> Result<bool, OpenError> {
    let source =
        |error: rustix::io::Errno| OpenError::File { path: path.to_owned(), source: error.into() };
    let found = statfs(directory(path)).map_err(source)?.f_type;
    let unreliable =
        UNRELIABLE_FILESYSTEMS.iter().find(|(number, _)| i64::try_from(*number) == Ok(found));
    match unreliable {
        Some((_, kind)) if !any => Err(OpenError::Filesystem { path: path.to_owned(), kind }),
        Some((_, kind)) => Ok(*kind == "FUSE"),
        None => Ok(true),
    }
}

/// Puts a database prepared by a restore in place of the old one, with its inode locked. After an
/// interruption the next call finishes the work. Returns the paths of the old files.
pub(crate) fn finish_restore(
    path: &Path,
    lock: &mut Lock,
    locks_inode: bool,
) -> Result<Vec<PathBuf>, OpenError> {
    let mut set_aside = Vec::new();
    let failed = |source| OpenError::File { path: path.to_owned(), source };
    remove_unfinished_restore(path).map_err(failed)?;
    for (restored, date) in files::named(path, "restored-").map_err(failed)? {
        if locks_inode {
            lock.hold(&restored)?;
        }
        let aside = with_date(path, "before-restore-", &date);
        for part in DATABASE_SUFFIXES {
            let (from, to) = (with_suffix(path, part), with_suffix(&aside, part));
            match fs::rename(&from, &to) {
                Ok(()) => set_aside.push(to),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
        }
        files::sync_directory(path).map_err(failed)?;
        fs::rename(&restored, path).map_err(failed)?;
        files::sync_directory(path).map_err(failed)?;
    }
    set_aside.reverse();
    Ok(set_aside)
}

/// Removes the new database of an unfinished restore.
pub(crate) fn remove_unfinished_restore(path: &Path) -> io::Result<()> {
    let new = with_extension(path, "restoring");
    for part in ["", "-wal", "-shm", "-journal"] {
        files::remove(&with_suffix(&new, part))?;
    }
    Ok(())
}

pub(crate) fn with_date(path: &Path, kind: &str, date: &OsString) -> PathBuf {
    let mut name = with_extension(path, kind).into_os_string();
    name.push(date);
    name.into()
}
