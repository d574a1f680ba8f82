//! Is the file that was opened still the one that has its name?
//!
//! Who removes or replaces the database or its WAL under a running process leaves it with files that
//! nobody will ever find again: every commit would succeed, and all of it be lost. Who removes the lock file
//! lets another process take the lock.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::lock::{Lock, with_suffix};

/// The database, its WAL and the lock file, as they were when they were opened.
#[derive(Debug)]
pub(super) struct Watched {
    database: PathBuf,
    files: Vec<(PathBuf, Identity)>,
}

#[derive(Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Watched {
    /// The files of this database, which must be there.
    pub(super) fn new(database: &Path, lock: &Lock) -> io::Result<Self> {
        let mut watched = Vec::new();
        for (path, file) in lock.held(database)? {
            watched.push((path, identity(&file)));
        }
        // On a file system without a lock on the inode.
        if watched.len() == 1 {
            watched.push((database.to_owned(), identity(&fs::metadata(database)?)));
        }
        let wal = with_suffix(database, "-wal");
        let found = identity(&fs::metadata(&wal)?);
        watched.push((wal, found));
        Ok(Self { database: database.to_owned(), files: watched })
    }

    /// The path of the database.
    pub(super) fn database(&self) -> &Path {
        &self.database
    }

    /// The file that is gone or another one now, if there is any.
    pub(super) fn replaced(&self) -> Option<&Path> {
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
