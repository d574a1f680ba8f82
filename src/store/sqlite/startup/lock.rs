//! Locks that give one process the database. There are two.
//!
//! The first is an `flock` on a file beside the database. Its content says how the last process ended: after
//! an orderly end it describes the files as they were left; otherwise it is empty.
//!
//! The second is an `flock` on the database's own inode, because a hard link, a bind mount or a removed lock
//! file leads to the same database with another lock file. It uses one descriptor, which is opened before
//! SQLite opens the file and closed after SQLite has closed it. Closing any other descriptor of the file
//! drops SQLite's own locks, so no other code in the serving process may open and close it: code that needs
//! the file's bytes reads them through [`Lock::header`], and code that needs its inode calls `stat`.

use std::fs::{self, File, Metadata, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, open};

use super::wal_damage::page_bytes_of;
use crate::store::sqlite::OpenError;
use crate::store::sqlite::paths::{with_extension, with_suffix};

/// Pause between two attempts to take a lock that another process holds.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// Mode of the files, with access for the owner only: they hold phone numbers.
const OWNER_ONLY: Mode = Mode::RUSR.union(Mode::WUSR);

/// Length of an SQLite file's header, in bytes.
const HEADER_BYTES: usize = 100;

/// Both locks, held until the value is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    /// The lock file beside the database.
    file: File,
    path: PathBuf,
    /// The locked database, last, and files that had its name before. None is closed while SQLite has one
    /// open.
    inodes: Vec<File>,
    since: Instant,
    max_wait: Duration,
}

/// Takes the lock on the file beside this database. Waits up to `lock_wait` for another process to end.
pub(crate) fn take(database: &Path, lock_wait: Duration) -> Result<Lock, OpenError> {
    let path = with_extension(database, "lock");
    let since = Instant::now();
    let failed = |source| OpenError::File { path: path.clone(), source };
    loop {
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file =
            File::from(open(&path, flags, OWNER_ONLY).map_err(|error| failed(error.into()))?);
        wait_for(&file, &path, since, lock_wait)?;
        // A removed lock file does not count: another process creates and locks a new one.
        if is_same_file(&path, &file.metadata().map_err(failed)?) {
            return Ok(Lock { file, path, inodes: Vec::new(), since, max_wait: lock_wait });
        }
    }
}

fn wait_for(
    file: &File,
    path: &Path,
    since: Instant,
    lock_wait: Duration,
) -> Result<(), OpenError> {
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if since.elapsed() < lock_wait => {
                thread::sleep(RETRY_PAUSE);
            }
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::InUse { path: path.to_owned() });
            }
            Err(TryLockError::Error(source)) => {
                return Err(OpenError::File { path: path.to_owned(), source });
            }
        }
    }
}

/// Whether this path still leads to the file with this metadata.
fn is_same_file(path: &Path, file: &Metadata) -> bool {
    fs::symlink_metadata(path)
        .is_ok_and(|found| found.dev() == file.dev() && found.ino() == file.ino())
}

impl Lock {
    /// Locks the inode of the file at this path: the database, or the file that is about to be renamed to it.
    /// Returns whether the file exists.
    pub(crate) fn hold(&mut self, path: &Path) -> Result<bool, OpenError> {
        self.hold_opened(path, OFlags::empty())
    }

    /// Like [`Self::hold`]; creates an empty file with access for its owner only if none exists.
    pub(crate) fn hold_or_create(&mut self, path: &Path) -> Result<(), OpenError> {
        self.hold_opened(path, OFlags::CREATE).map(drop)
    }

    fn hold_opened(&mut self, path: &Path, more: OFlags) -> Result<bool, OpenError> {
        let failed = |source| OpenError::File { path: path.to_owned(), source };
        if self
            .inodes
            .last()
            .is_some_and(|held| held.metadata().is_ok_and(|m| is_same_file(path, &m)))
        {
            return Ok(true);
        }
        // Without O_NONBLOCK, opening a FIFO would wait for its writer.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | more;
        let file = match open(path, flags, OWNER_ONLY) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::NOENT) if more.is_empty() => return Ok(false),
            Err(error) => return Err(failed(error.into())),
        };
        let found = file.metadata().map_err(failed)?;
        if !found.is_file() {
            return Err(OpenError::Foreign { path: path.to_owned() });
        }
        wait_for(&file, path, self.since, self.max_wait)?;
        // The links are counted now: the process that was waited for may have removed the others.
        let links = file.metadata().map_err(failed)?.nlink();
        if links > 1 {
            return Err(OpenError::Linked { path: path.to_owned(), links });
        }
        self.inodes.push(file);
        Ok(true)
    }

    /// The lock file and the database as locked, with their paths.
    pub(crate) fn held(&self, database: &Path) -> io::Result<Vec<(PathBuf, Metadata)>> {
        let mut held = vec![(self.path.clone(), self.file.metadata()?)];
        if let Some(inode) = self.inodes.last() {
            held.push((database.to_owned(), inode.metadata()?));
        }
        Ok(held)
    }

    /// First bytes of the database, read without opening it again; none if it is shorter, or if its inode is
    /// not locked.
    pub(crate) fn header(&self) -> Option<[u8; HEADER_BYTES]> {
        let mut header = [0; HEADER_BYTES];
        self.inodes.last()?.read_exact_at(&mut header, 0).is_ok().then_some(header)
    }

    /// Page size in the database's header, in bytes.
    pub(crate) fn page_bytes(&self) -> Option<usize> {
        page_bytes_of(&mut self.header()?.as_slice())
    }

    /// Whether the last process that had the database ended in order, and the files were not touched since.
    /// Also clears that state for this process.
    pub(crate) fn was_clean(&mut self, database: &Path) -> io::Result<bool> {
        let mut description = String::new();
        self.file.read_to_string(&mut description)?;
        self.file.set_len(0)?;
        Ok(!description.is_empty() && description == describe_files(database)?)
    }

    /// Records that this process ended in order. All SQLite connections must be closed.
    pub(crate) fn mark_clean(mut self, database: &Path) -> io::Result<()> {
        let description = describe_files(database)?;
        io::Seek::rewind(&mut self.file)?;
        self.file.write_all(description.as_bytes())
    }
}

/// Description of the database and its WAL that changes if either is touched.
fn describe_files(database: &Path) -> io::Result<String> {
    let describe = |path: PathBuf| match fs::metadata(path) {
        Ok(file) => {
            let (inode, length) = (file.ino(), file.len());
            Ok(format!("{inode} {length} {}.{:09}\n", file.mtime(), file.mtime_nsec()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok("none\n".to_owned()),
        Err(error) => Err(error),
    };
    Ok(describe(database.to_owned())? + &describe(with_suffix(database, "-wal"))?)
}
