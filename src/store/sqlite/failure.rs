//! What ends the store: told once, never taken back, and remembered for the next start.
//!
//! When a write or a sync has failed, the kernel may take pages for clean that never reached the
//! disk: a retry would be answered from its cache, and a reboot would forget it. So nothing is
//! acknowledged any more, and a mark tells the next start to copy the data to new blocks first. The
//! danger lives as long as the kernel's cache, so the mark names the boot and need not be synced: it
//! is readable for as long as it matters, and void after a reboot.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, ffi};
use rustix::io::Errno;
use tokio::sync::watch;

use super::copy;
use super::lock::beside;

/// Who needs longer to write the mark is not waited for: the process must end.
const MARK_TIME: Duration = Duration::from_millis(300);
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Why nothing is acknowledged any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failed {
    /// A write or a sync failed.
    Disk,
    /// The database is damaged.
    Damaged,
    /// The database, its WAL or its lock file is no longer the file that was opened.
    Replaced,
    /// A thread of the store panicked.
    Panicked,
}

/// Whether the store has failed, and where to leave a mark of it.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    told: Arc<watch::Sender<Option<Failed>>>,
    marks: Arc<Marks>,
}

impl Failure {
    pub(super) fn new(marks: Marks) -> (Self, watch::Receiver<Option<Failed>>) {
        let (told, failed) = watch::channel(None);
        (Self { told: Arc::new(told), marks: Arc::new(marks) }, failed)
    }

    /// Tells of a failure that an error of SQLite shows.
    pub(super) fn report(&self, failed: Failed, during: &str, error: &rusqlite::Error) {
        tracing::error!(%error, during, "the store failed; nothing is acknowledged any more");
        self.tell(failed);
    }

    /// Tells of a failure. The first one counts.
    pub(super) fn tell(&self, failed: Failed) {
        if self.happened() {
            return;
        }
        if failed == Failed::Disk {
            self.marks.leave();
        }
        self.told.send_replace(Some(failed));
    }

    pub(super) fn happened(&self) -> bool {
        self.told.borrow().is_some()
    }
}

/// Ends the store if the thread that holds it panics: nobody would do its work any more.
pub(super) struct Guard(pub(super) Failure);

impl Drop for Guard {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.tell(Failed::Panicked);
        }
    }
}

/// What an error of SQLite says of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Another process has a lock; it will be gone some time.
    Busy,
    /// There is no space; there will be some time.
    Full,
    /// The disk failed, or the file is damaged.
    Lasting(Failed),
    /// Nothing.
    Other,
}

impl Trouble {
    /// What it comes to where nothing but success or a lock was to be expected.
    pub(super) fn lasting(self) -> Failed {
        match self {
            Self::Lasting(failed) => failed,
            Self::Busy | Self::Full | Self::Other => Failed::Disk,
        }
    }
}

/// What this error, the last one of this connection, says of the disk.
pub(super) fn trouble(db: &Connection, error: &rusqlite::Error) -> Trouble {
    let no_space = [Errno::NOSPC, Errno::DQUOT, Errno::FBIG].map(Errno::raw_os_error);
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Trouble::Busy,
        Some(ErrorCode::DiskFull) => Trouble::Full,
        // A quota, a limit of the length of files, or space that was promised and is not there, comes as
        // an I/O error; so does a WAL index that cannot grow, which is made again at need and holds nothing to lose.
        Some(ErrorCode::SystemIoFailure)
            if no_space.contains(&system_errno(db))
                || error.sqlite_extended_error_code() == Some(ffi::SQLITE_IOERR_SHMSIZE) =>
        {
            Trouble::Full
        }
        Some(ErrorCode::SystemIoFailure) => Trouble::Lasting(Failed::Disk),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            Trouble::Lasting(Failed::Damaged)
        }
        Some(_) | None => Trouble::Other,
    }
}

/// What the system said when this connection met its last I/O error.
#[expect(unsafe_code, reason = "rusqlite has no safe name for it")]
fn system_errno(db: &Connection) -> i32 {
    // SAFETY: the handle is valid for as long as the connection is borrowed.
    unsafe { ffi::sqlite3_system_errno(db.handle()) }
}

/// Where a start finds out that the disk has failed: beside the database, and in the directory for
/// what does not outlive the boot, should that disk refuse it.
#[derive(Debug)]
pub(super) struct Marks(Vec<PathBuf>);

impl Marks {
    pub(super) fn of(database: &Path, runtime_directory: Option<&Path>) -> Self {
        let mark = beside(database, "failed");
        let elsewhere = runtime_directory.zip(mark.file_name()).map(|(path, name)| path.join(name));
        Self([Some(mark), elsewhere].into_iter().flatten().collect())
    }

    fn leave(&self) {
        let paths = self.0.clone();
        let (done, written) = sync_channel(1);
        // A disk that fails may also never answer.
        let writing = thread::Builder::new().spawn(move || {
            let boot = fs::read_to_string(BOOT_ID).unwrap_or_default();
            for path in paths {
                if let Err(error) = fs::write(&path, &boot) {
                    tracing::error!(%error, path = %path.display(), "cannot mark the failure");
                }
            }
            // Who waited may have given up.
            done.send(()).ok();
        });
        if writing.is_err() || written.recv_timeout(MARK_TIME).is_err() {
            tracing::error!("the failure may not be marked; start again on a copy of the files");
        }
    }

    /// Whether a mark of this boot is there. Those of earlier ones are void; one that the disk did
    /// not take whole counts.
    pub(super) fn are_left(&self) -> bool {
        let boot = fs::read_to_string(BOOT_ID).unwrap_or_default();
        let of_another = |mark: &[u8]| mark.len() >= boot.len() && mark != boot.as_bytes();
        self.0.iter().filter_map(|path| fs::read(path).ok()).any(|mark| !of_another(&mark))
    }

    /// Takes the marks away.
    pub(super) fn clear(&self) -> std::io::Result<()> {
        for path in &self.0 {
            copy::remove(path)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_panics_ends_the_store() {
        let (failure, failed) = Failure::new(Marks(Vec::new()));
        let ended = thread::spawn(move || {
            let _guard = Guard(failure);
            std::panic::resume_unwind(Box::new(()));
        });
        assert!(ended.join().is_err());
        assert_eq!(*failed.borrow(), Some(Failed::Panicked));
    }
}
