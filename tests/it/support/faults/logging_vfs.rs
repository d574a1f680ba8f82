//! A VFS that logs the operations of SQLite on the files of a folder in one order. From the log, the files
//! can be rebuilt as a power cut at any moment would have left them.
//!
//! SQLite reaches files through a VFS, a table of functions. This VFS becomes the default of the process. It
//! forwards to the VFS `unix`, and logs the operations on files in a folder with a [`Log`].

#![expect(unsafe_code, reason = "a VFS is a table of C functions")]

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;
use std::{ptr, slice, thread};

use rusqlite::ffi;

/// Minimum duration of a sync, as on a disk. Deliveries queue for the next commit meanwhile.
const MIN_SYNC_DURATION: Duration = Duration::from_micros(500);

/// Logged operation. A number identifies a file, because a later file may get the same name.
#[derive(Debug)]
pub(crate) enum Operation {
    /// A file was created with this name.
    Create { name: String, file: usize },
    /// The name of a file was removed.
    Delete { name: String },
    /// Bytes were written at this offset.
    Write { file: usize, at: usize, bytes: Vec<u8> },
    /// The file was truncated to this length.
    Truncate { file: usize, length: usize },
    /// The file was synced: its operations with an index below `before`, the length of the log when the sync
    /// began, are on disk.
    Sync { file: usize, before: usize },
    /// The folder was synced: creations and deletions with an index below `before` are on disk.
    SyncNames { before: usize },
}

/// Log of the operations on the files of one folder. An operation is added after it has returned, so an
/// operation that ended before another one began precedes it in the log.
#[derive(Debug)]
pub(crate) struct Log {
    folder: PathBuf,
    content: Mutex<Content>,
}

#[derive(Debug, Default)]
struct Content {
    operations: Vec<Operation>,
    /// Number of the file with each name.
    names: BTreeMap<String, usize>,
    /// Number of files that were created.
    files: usize,
}

static LOGS: Mutex<Vec<Arc<Log>>> = Mutex::new(Vec::new());

impl Log {
    /// Begins to log the operations in this folder, which must be empty.
    pub(crate) fn of(folder: &Path) -> Arc<Self> {
        static REGISTERED: Once = Once::new();
        REGISTERED.call_once(register);
        let folder = folder.canonicalize().unwrap();
        let log = Arc::new(Self { folder, content: Mutex::default() });
        LOGS.lock().unwrap().push(Arc::clone(&log));
        log
    }

    /// Number of logged operations.
    pub(crate) fn length(&self) -> usize {
        self.content.lock().unwrap().operations.len()
    }

    /// Ends the log and returns its operations.
    pub(crate) fn end(&self) -> Vec<Operation> {
        LOGS.lock().unwrap().retain(|log| log.folder != self.folder);
        std::mem::take(&mut self.content.lock().unwrap().operations)
    }

    fn add(&self, operation: Operation) {
        self.content.lock().unwrap().operations.push(operation);
    }

    /// Number of the file with this name. Logs its creation if it is new.
    fn opened(&self, name: String) -> usize {
        let mut content = self.content.lock().unwrap();
        if let Some(file) = content.names.get(&name) {
            return *file;
        }
        let file = content.files;
        content.files += 1;
        content.names.insert(name.clone(), file);
        content.operations.push(Operation::Create { name, file });
        file
    }

    /// Logs the removal of a name.
    fn deleted(&self, name: String) {
        let mut content = self.content.lock().unwrap();
        content.names.remove(&name);
        content.operations.push(Operation::Delete { name });
    }
}

/// Log of a file's folder, if it has one, and the file's name.
unsafe fn logged(path: *const c_char) -> Option<(Arc<Log>, String)> {
    if path.is_null() {
        return None;
    }
    let path = Path::new(unsafe { CStr::from_ptr(path) }.to_str().ok()?);
    let logs = LOGS.lock().unwrap();
    let log = logs.iter().find(|log| path.parent() == Some(&log.folder))?;
    Some((Arc::clone(log), path.file_name()?.to_str()?.to_owned()))
}

/// Functions and log of one open file. SQLite holds a pointer to `table`, which is the first field, so that
/// the functions can reach the other fields through it.
#[repr(C)]
struct Methods {
    table: ffi::sqlite3_io_methods,
    unix_table: *const ffi::sqlite3_io_methods,
    log: Arc<Log>,
    file: usize,
    /// Whether the next sync also syncs the folder. The VFS `unix` does that in the first sync of a journal
    /// or WAL that was opened with `SQLITE_OPEN_CREATE`.
    syncs_names: AtomicBool,
}

fn unix_vfs() -> *mut ffi::sqlite3_vfs {
    unsafe { ffi::sqlite3_vfs_find(c"unix".as_ptr()) }
}

fn register() {
    unsafe {
        let mut vfs = Box::new(*unix_vfs());
        vfs.pNext = ptr::null_mut();
        vfs.zName = c"logging".as_ptr();
        vfs.xOpen = Some(open);
        vfs.xDelete = Some(delete);
        assert_eq!(ffi::sqlite3_vfs_register(Box::leak(vfs), 1), ffi::SQLITE_OK);
    }
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    path: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    unsafe {
        let result = (*unix_vfs()).xOpen.unwrap()(unix_vfs(), path, file, flags, out_flags);
        if let (ffi::SQLITE_OK, Some((log, name))) = (result, logged(path)) {
            let unix_table = (*file).pMethods;
            let table = ffi::sqlite3_io_methods {
                xClose: Some(close),
                xWrite: Some(write),
                xTruncate: Some(truncate),
                xSync: Some(sync),
                ..*unix_table
            };
            let is_journal = flags & (ffi::SQLITE_OPEN_WAL | ffi::SQLITE_OPEN_MAIN_JOURNAL) != 0;
            let syncs_names = AtomicBool::new(is_journal && flags & ffi::SQLITE_OPEN_CREATE != 0);
            let number = log.opened(name);
            let methods = Box::new(Methods { table, unix_table, log, file: number, syncs_names });
            (*file).pMethods = Box::into_raw(methods).cast();
        }
        result
    }
}

unsafe extern "C" fn delete(
    _: *mut ffi::sqlite3_vfs,
    path: *const c_char,
    sync_names: c_int,
) -> c_int {
    unsafe {
        let result = (*unix_vfs()).xDelete.unwrap()(unix_vfs(), path, sync_names);
        if let (ffi::SQLITE_OK, Some((log, name))) = (result, logged(path)) {
            log.deleted(name);
            if sync_names != 0 {
                log.add(Operation::SyncNames { before: log.length() });
            }
        }
        result
    }
}

unsafe fn methods<'a>(file: *mut ffi::sqlite3_file) -> &'a Methods {
    unsafe { &*(*file).pMethods.cast() }
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    unsafe {
        let methods: Box<Methods> = Box::from_raw((*file).pMethods.cast_mut().cast());
        (*methods.unix_table).xClose.unwrap()(file)
    }
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    from: *const c_void,
    count: c_int,
    at: ffi::sqlite3_int64,
) -> c_int {
    unsafe {
        let methods = methods(file);
        let result = (*methods.unix_table).xWrite.unwrap()(file, from, count, at);
        if result == ffi::SQLITE_OK {
            let count = usize::try_from(count).unwrap();
            let bytes = slice::from_raw_parts(from.cast::<u8>(), count).to_vec();
            let at = usize::try_from(at).unwrap();
            methods.log.add(Operation::Write { file: methods.file, at, bytes });
        }
        result
    }
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, length: ffi::sqlite3_int64) -> c_int {
    unsafe {
        let methods = methods(file);
        let result = (*methods.unix_table).xTruncate.unwrap()(file, length);
        if result == ffi::SQLITE_OK {
            let length = usize::try_from(length).unwrap();
            methods.log.add(Operation::Truncate { file: methods.file, length });
        }
        result
    }
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    unsafe {
        let methods = methods(file);
        let before = methods.log.length();
        thread::sleep(MIN_SYNC_DURATION);
        let result = (*methods.unix_table).xSync.unwrap()(file, flags);
        if result == ffi::SQLITE_OK {
            methods.log.add(Operation::Sync { file: methods.file, before });
            if methods.syncs_names.swap(false, Ordering::Relaxed) {
                methods.log.add(Operation::SyncNames { before });
            }
        }
        result
    }
}
