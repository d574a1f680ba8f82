//! Location of the configuration file: the named file, else the first that exists.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use super::regular_file::absolute;
use crate::config::error::ConfigError;

/// Environment variable that names the file, if the command line does not.
const CONFIG_VARIABLE: &str = "STATUSMIRROR_CONFIG";
/// Default locations, in the order of search.
const DEFAULT_PATHS: [&str; 2] = ["statusmirror.toml", "/etc/statusmirror/statusmirror.toml"];
/// Directory of system-wide files.
const SYSTEM_DIRECTORY: &str = "/etc";

/// Absolute path of the configuration file: `given` if present, else the path named by the environment, else
/// the first default location that exists. A named file must exist, and an existing file must be readable:
/// falling back to another one would be a surprise.
pub fn locate(given: Option<&Path>) -> Result<Option<PathBuf>, ConfigError> {
    if let Some(named) = given.map(Path::to_owned).or_else(from_environment) {
        return Ok(Some(absolute(&named)));
    }
    for place in DEFAULT_PATHS {
        let path = absolute(Path::new(place));
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
    let named = std::env::var_os(CONFIG_VARIABLE);
    named.filter(|name: &OsString| !name.is_empty()).map(PathBuf::from)
}

/// Whether a file is system-wide, so that no working directory is the right one for its relative paths.
pub(crate) fn is_system_wide(file: &Path) -> bool {
    let is_plain = !file.components().any(|part| part == Component::ParentDir);
    is_plain && file.starts_with(SYSTEM_DIRECTORY)
        || file.canonicalize().is_ok_and(|file| file.starts_with(SYSTEM_DIRECTORY))
}
