//! A VFS that logs the operations of SQLite on the files of a folder, in one order, so that the files can be rebuilt
//! as a power cut at any moment would have left them.
//!
//! SQLite reaches files through a VFS, a table of functions. This one becomes the default of the process. It logs
//! files in a folder with a [`Log`] and otherwise forwards to the VFS that was the default before.

#![expect(unsafe_code, reason = "SQLite takes functions in C's way")]

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;
use std::{ptr, slice, thread};

use rusqlite::ffi;

/// How long a sync takes at least, as on a disk: meanwhile deliveries queue for the next commit.
const SYNC: Duration = Duration::from_micros(500);

/// What was done. A file is a number, because another may get its name.
#[derive(Debug)]
pub(crate) enum Operation {
    /// A new file got this name.
    Create { name: String, file: usize },
    /// The file with this name lost it.
    Delete { name: String },
    /// These bytes were written at this place.
    Write { file: usize, at: usize, bytes: Vec<u8> },
    /// The file was cut to this length.
    Truncate { file: usize, length: usize },
    /// What was done to the file before the operation of this number is on the disk now. It is the
    /// one that was next when the sync began.
    Sync { file: usize, before: usize },
    /// The same for the names.
    SyncNames { before: usize },
}

/// What was done to the files of one folder. An operation is added when it has been done, so what is
/// known to have happened before another thing stands before it.
#[derive(Debug)]
pub(crate) struct Log {
    folder: PathBuf,
    done: Mutex<Done>,
}

#[derive(Debug, Default)]
struct Done {
    operations: Vec<Operation>,
    names: BTreeMap<String, usize>,
    files: usize,
}

static LOGS: Mutex<Vec<Arc<Log>>> = Mutex::new(Vec::new());

impl Log {
    /// Begins to log what is done in this folder, which is empty.
    pub(crate) fn of(folder: &Path) -> Arc<Self> {
        static REGISTERED: Once = Once::new();
        REGISTERED.call_once(register);
        let folder = folder.canonicalize().unwrap();
        let log = Arc::new(Self { folder, done: Mutex::default() });
        LOGS.lock().unwrap().push(Arc::clone(&log));
        log
    }

    /// How many operations were done.
    pub(crate) fn length(&self) -> usize {
        self.done.lock().unwrap().operations.len()
    }

    /// Ends it: what was done.
    pub(crate) fn end(&self) -> Vec<Operation> {
        LOGS.lock().unwrap().retain(|log| log.folder != self.folder);
        std::mem::take(&mut self.done.lock().unwrap().operations)
    }

    fn add(&self, operation: Operation) {
        self.done.lock().unwrap().operations.push(operation);
    }

    /// The file with this name, which may be a new one.
    fn opened(&self, name: String) -> usize {
        let mut done = self.done.lock().unwrap();
        if let Some(file) = done.names.get(&name) {
            return *file;
        }
        let file = done.files;
        done.files += 1;
        done.names.insert(name.clone(), file);
        done.operations.push(Operation::Create { name, file });
        file
    }

    fn deleted(&self, name: String) {
        let mut done = self.done.lock().unwrap();
        done.names.remove(&name);
        done.operations.push(Operation::Delete { name });
    }
}

/// The log of a file's folder, if it has one, and the file's name there.
unsafe fn logged(path: *const c_char) -> Option<(Arc<Log>, String)> {
    if path.is_null() {
        return None;
    }
    let path = Path::new(unsafe { CStr::from_ptr(path) }.to_str().ok()?);
    let logs = LOGS.lock().unwrap();
    let log = logs.iter().find(|log| path.parent() == Some(&log.folder))?;
    Some((Arc::clone(log), path.file_name()?.to_str()?.to_owned()))
}

/// The functions of one open file: SQLite finds them through the file, and we find the rest here.
#[repr(C)]
struct Methods {
    table: ffi::sqlite3_io_methods,
    usual: *const ffi::sqlite3_io_methods,
    log: Arc<Log>,
    file: usize,
    /// Whether the next sync also syncs the folder: the usual VFS does so once with each journal or
    /// WAL that was opened to be created, should it be missing.
    syncs_names: AtomicBool,
}

fn usual() -> *mut ffi::sqlite3_vfs {
    unsafe { ffi::sqlite3_vfs_find(c"unix".as_ptr()) }
}

fn register() {
    unsafe {
        let mut vfs = Box::new(*usual());
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
        let result = (*usual()).xOpen.unwrap()(usual(), path, file, flags, out_flags);
        if let (ffi::SQLITE_OK, Some((log, name))) = (result, logged(path)) {
            let usual = (*file).pMethods;
            let table = ffi::sqlite3_io_methods {
                xClose: Some(close),
                xWrite: Some(write),
                xTruncate: Some(truncate),
                xSync: Some(sync),
                ..*usual
            };
            let journal = flags & (ffi::SQLITE_OPEN_WAL | ffi::SQLITE_OPEN_MAIN_JOURNAL) != 0;
            let syncs_names = AtomicBool::new(journal && flags & ffi::SQLITE_OPEN_CREATE != 0);
            let number = log.opened(name);
            let methods = Box::new(Methods { table, usual, log, file: number, syncs_names });
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
        let result = (*usual()).xDelete.unwrap()(usual(), path, sync_names);
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
        (*methods.usual).xClose.unwrap()(file)
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
        let result = (*methods.usual).xWrite.unwrap()(file, from, count, at);
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
        let result = (*methods.usual).xTruncate.unwrap()(file, length);
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
        thread::sleep(SYNC);
        let result = (*methods.usual).xSync.unwrap()(file, flags);
        if result == ffi::SQLITE_OK {
            methods.log.add(Operation::Sync { file: methods.file, before });
            if methods.syncs_names.swap(false, Ordering::Relaxed) {
                methods.log.add(Operation::SyncNames { before });
            }
        }
        result
    }
}
