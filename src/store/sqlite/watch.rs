//! Is the file that was opened still the one that has its name?
//!
//! Who removes or replaces the database or its WAL under a running process leaves it with files that
//! nobody will ever find again: every commit would succeed, and all of it be lost.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::lock::with_suffix;

/// The database and its WAL, as they were when they were opened.
#[derive(Debug)]
pub(super) struct Watched([(PathBuf, Identity); 2]);

#[derive(Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Watched {
    /// Both files, which must be there.
    pub(super) fn new(database: &Path) -> io::Result<Self> {
        let now = |path: PathBuf| identity(&path).map(|identity| (path, identity));
        Ok(Self([now(database.to_owned())?, now(with_suffix(database, "-wal"))?]))
    }

    /// The file that is gone or another one now, if there is any.
    pub(super) fn replaced(&self) -> Option<&Path> {
        let [database, wal] = &self.0;
        [database, wal]
            .into_iter()
            .find(|(path, before)| identity(path).ok().as_ref() != Some(before))
            .map(|(path, _)| path.as_path())
    }
}

fn identity(path: &Path) -> io::Result<Identity> {
    let file = fs::metadata(path)?;
    Ok(Identity { device: file.dev(), inode: file.ino() })
}
