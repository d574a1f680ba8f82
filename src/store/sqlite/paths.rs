//! Paths of the database and of the files beside it.

use std::fs;
use std::path::{Path, PathBuf};

/// Real path of the database where this path is a symbolic link: SQLite keeps the WAL beside the database, so
/// all other files must be there too.
pub fn real_path(database: &Path) -> PathBuf {
    match fs::symlink_metadata(database) {
        Ok(found) if found.is_symlink() => {
            fs::canonicalize(database).unwrap_or_else(|_dangling| database.to_owned())
        }
        Ok(_) | Err(_) => database.to_owned(),
    }
}

/// Path of the database with one more extension.
pub(crate) fn with_extension(database: &Path, extension: &str) -> PathBuf {
    with_suffix(database, &format!(".{extension}"))
}

/// Path of a file that SQLite keeps beside the database.
pub fn with_suffix(database: &Path, suffix: &str) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// Directory of a file.
pub fn directory(file: &Path) -> &Path {
    match file.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    }
}
