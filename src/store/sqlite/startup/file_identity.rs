//! Detection of a removed or replaced database, WAL or lock file.
//!
//! If the database or its WAL is removed or replaced under a running process, the process goes on with files
//! that have no name: every commit would succeed, and all of them would be lost. If the lock file is removed,
//! another process can take the lock.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::lock::Lock;
use crate::store::sqlite::paths::with_suffix;

/// Identities of the database, its WAL and the lock file at the time they were opened.
#[derive(Debug)]
pub(crate) struct WatchedFiles {
    database: PathBuf,
    files: Vec<(PathBuf, Identity)>,
}

#[derive(Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl WatchedFiles {
    /// Records the identities of this database's files, which must exist.
    pub(crate) fn new(database: &Path, lock: &Lock) -> io::Result<Self> {
        let mut watched = Vec::new();
        for (path, file) in lock.held(database)? {
            watched.push((path, identity(&file)));
        }
        // On a file system without an inode lock, the lock does not hold the database.
        if watched.len() == 1 {
            watched.push((database.to_owned(), identity(&fs::metadata(database)?)));
        }
        let wal = with_suffix(database, "-wal");
        let found = identity(&fs::metadata(&wal)?);
        watched.push((wal, found));
        Ok(Self { database: database.to_owned(), files: watched })
    }

    /// Path of the database.
    pub(crate) fn database(&self) -> &Path {
        &self.database
    }

    /// The first file that was removed or replaced, if any.
    pub(crate) fn replaced(&self) -> Option<&Path> {
        self.files
            .iter()
            .find(|(path, before)| {
                fs::metadata(path).ok().map(|file| identity(&file)).as_ref() != Some(before)
            })
            .map(|(path, _)| path.as_path())
    }
}

fn identity(file: &Metadata) -> Identity {
    Identity { device: file.dev(), inode: file.ino() }
}
