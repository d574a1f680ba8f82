//! Operations on files beside the database: durable renames, private files, lengths.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::paths::{directory, with_suffix};

/// Makes a finished file durable and renames it.
pub(crate) fn persist(partial: &Path, name: &Path) -> io::Result<()> {
    File::open(partial)?.sync_all()?;
    fs::rename(partial, name)?;
    sync_directory(name)
}

/// Makes a finished file durable and renames it, unless a file with that name exists.
pub(crate) fn persist_new(partial: &Path, name: &Path) -> io::Result<()> {
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

/// Length of the database and its WAL, in bytes.
pub(crate) fn length(path: &Path) -> u64 {
    let length = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
    length(path) + length(&with_suffix(path, "-wal"))
}

/// Makes the names in a file's directory durable.
pub(crate) fn sync_directory(file: &Path) -> io::Result<()> {
    File::open(directory(file))?.sync_all()
}
