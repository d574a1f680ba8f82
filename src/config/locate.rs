//! Which configuration file is read: the one that is named, else the first that exists.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use super::{ConfigError, whole};

/// Names the file, if the command line does not.
const VARIABLE: &str = "STATUSMIRROR_CONFIG";
/// Where it is looked for if nobody names it, in this order.
const PLACES: [&str; 2] = ["statusmirror.toml", "/etc/statusmirror/statusmirror.toml"];
/// Where the files of the whole machine are.
const SYSTEM: &str = "/etc";

/// The whole path of the file to read: of this one, if it is given, else of that which the
/// environment names, else of the first that exists. A file that is named must be there, and one that
/// is there must be readable: another one would be a surprise.
pub fn locate(given: Option<&Path>) -> Result<Option<PathBuf>, ConfigError> {
    if let Some(named) = given.map(Path::to_owned).or_else(from_environment) {
        return Ok(Some(whole(&named)));
    }
    for place in PLACES {
        let path = whole(Path::new(place));
        match fs::symlink_metadata(&path) {
            Ok(_) => return Ok(Some(path)),
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(error) => return Err(ConfigError::Unreadable { path, error: error.to_string() }),
        }
    }
    Ok(None)
}

fn from_environment() -> Option<PathBuf> {
    let named = std::env::var_os(VARIABLE);
    named.filter(|name: &OsString| !name.is_empty()).map(PathBuf::from)
}

/// Whether a file is one of the whole machine, for which no working directory is the right one.
pub(super) fn is_of_system(file: &Path) -> bool {
    let is_plain = !file.components().any(|part| part == Component::ParentDir);
    is_plain && file.starts_with(SYSTEM)
        || file.canonicalize().is_ok_and(|file| file.starts_with(SYSTEM))
}
