//! Fail-stop: the store stops for good after an I/O error, and leaves a mark for the next start.
//!
//! When a write or a sync has failed, the kernel may mark pages clean that never reached the disk: a retry
//! would be answered from its cache, and a reboot would forget it. So nothing is acknowledged any more, and a
//! mark tells the next start to copy the data to new blocks first. The danger lasts as long as the kernel's
//! cache, so the mark names the boot and needs no sync: it is readable for as long as it matters, and void
//! after a reboot.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, ffi};
use rustix::io::Errno;
use tokio::sync::watch;

use super::files;
use super::paths::with_extension;

/// Time limit for writing the marks. A slower write is not waited for: the process must end.
const MARK_TIMEOUT: Duration = Duration::from_millis(300);
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Cause of a fail-stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopCause {
    /// A write or a sync failed.
    Disk,
    /// The database is damaged.
    Damaged,
    /// The database, its WAL or its lock file is no longer the file that was opened.
    Replaced,
    /// A thread of the store panicked.
    Panicked,
}

/// State of the fail-stop: its cause, if any, and the places of the marks.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    cause: Arc<watch::Sender<Option<StopCause>>>,
    marks: Arc<Marks>,
}

impl Failure {
    pub(crate) fn new(marks: Marks) -> (Self, watch::Receiver<Option<StopCause>>) {
        let (cause, failed) = watch::channel(None);
        (Self { cause: Arc::new(cause), marks: Arc::new(marks) }, failed)
    }

    /// Reports the fail-stop that an SQLite error requires, and logs the error.
    pub(crate) fn report(&self, failed: StopCause, during: &str, error: &rusqlite::Error) {
        tracing::error!(%error, during, "the store failed; no further webhook is acknowledged");
        self.stop(failed);
    }

    /// Reports a fail-stop. Only the first one counts.
    pub(crate) fn stop(&self, failed: StopCause) {
        if self.has_stopped() {
            return;
        }
        if failed == StopCause::Disk {
            self.marks.write();
        }
        self.cause.send_replace(Some(failed));
    }

    pub(crate) fn has_stopped(&self) -> bool {
        self.cause.borrow().is_some()
    }
}

/// Stops the store if the thread that holds the guard panics: no other thread would do its work.
pub(crate) struct Guard(pub(crate) Failure);

impl Drop for Guard {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.stop(StopCause::Panicked);
        }
    }
}

/// Classification of an SQLite error by its effect on the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorClass {
    /// Another process holds a lock; a retry can succeed.
    Busy,
    /// No space is left; a retry can succeed once there is space.
    Full,
    /// The disk failed, or the file is damaged; the store must stop.
    Lasting(StopCause),
    /// Any other error; it says nothing about the disk.
    Other,
}

impl ErrorClass {
    /// Cause of the fail-stop, for a call where only success or a lock conflict was expected.
    pub(crate) fn to_stop_cause(self) -> StopCause {
        match self {
            Self::Lasting(failed) => failed,
            Self::Busy | Self::Full | Self::Other => StopCause::Disk,
        }
    }
}

/// Classifies this error, the last one on this connection.
pub(crate) fn classify(db: &Connection, error: &rusqlite::Error) -> ErrorClass {
    let no_space = [Errno::NOSPC, Errno::DQUOT, Errno::FBIG].map(Errno::raw_os_error);
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => ErrorClass::Busy,
        Some(ErrorCode::DiskFull) => ErrorClass::Full,
        // A quota, a limit on file length, or promised space that is missing is reported as an I/O error. So
        // is a WAL index that cannot grow; it is rebuilt on demand and holds nothing to lose.
        Some(ErrorCode::SystemIoFailure)
            if no_space.contains(&system_errno(db))
                || error.sqlite_extended_error_code() == Some(ffi::SQLITE_IOERR_SHMSIZE) =>
        {
            ErrorClass::Full
        }
        Some(ErrorCode::SystemIoFailure) => ErrorClass::Lasting(StopCause::Disk),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            ErrorClass::Lasting(StopCause::Damaged)
        }
        Some(_) | None => ErrorClass::Other,
    }
}

/// Errno of the last I/O error on this connection.
#[expect(unsafe_code, reason = "rusqlite has no safe name for it")]
fn system_errno(db: &Connection) -> i32 {
    // SAFETY: the handle is valid for as long as the connection is borrowed.
    unsafe { ffi::sqlite3_system_errno(db.handle()) }
}

/// Files that tell a start that the disk has failed: one beside the database, and one in the runtime
/// directory, which does not outlive the boot, in case that disk rejects the write.
#[derive(Debug)]
pub(crate) struct Marks(Vec<PathBuf>);

impl Marks {
    pub(crate) fn of(database: &Path, runtime_directory: Option<&Path>) -> Self {
        let mark = with_extension(database, "failed");
        let runtime_mark =
            runtime_directory.zip(mark.file_name()).map(|(path, name)| path.join(name));
        Self([Some(mark), runtime_mark].into_iter().flatten().collect())
    }

    fn write(&self) {
        let paths = self.0.clone();
        let (done, written) = sync_channel(1);
        // A failing disk may never answer.
        let writing = thread::Builder::new().spawn(move || {
            let boot = fs::read_to_string(BOOT_ID).unwrap_or_default();
            for path in paths {
                if let Err(error) = fs::write(&path, &boot) {
                    tracing::error!(%error, path = %path.display(), "cannot write failure mark");
                }
            }
            // The waiting thread may have given up.
            done.send(()).ok();
        });
        if writing.is_err() || written.recv_timeout(MARK_TIMEOUT).is_err() {
            tracing::error!("the failure mark may be missing; start again on a copy of the files");
        }
    }

    /// Whether a mark of this boot exists. Marks of earlier boots are void. A mark that was not written in
    /// full counts.
    pub(crate) fn exist(&self) -> bool {
        let boot = fs::read_to_string(BOOT_ID).unwrap_or_default();
        let of_another = |mark: &[u8]| mark.len() >= boot.len() && mark != boot.as_bytes();
        self.0.iter().filter_map(|path| fs::read(path).ok()).any(|mark| !of_another(&mark))
    }

    /// Removes the marks.
    pub(crate) fn clear(&self) -> std::io::Result<()> {
        for path in &self.0 {
            files::remove(path)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panicking_thread_stops_the_store() {
        let (failure, failed) = Failure::new(Marks(Vec::new()));
        let ended = thread::spawn(move || {
            let _guard = Guard(failure);
            std::panic::resume_unwind(Box::new(()));
        });
        assert!(ended.join().is_err());
        assert_eq!(*failed.borrow(), Some(StopCause::Panicked));
    }
}
