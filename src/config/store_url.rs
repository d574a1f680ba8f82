//! `store.url`: the accepted forms of an SQLite file's address, and a warning about its file mode.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::store::sqlite::{real_path, with_suffix};

/// Hint on the accepted form.
const FORM_HINT: &str = "write sqlite: and the path of a file, like sqlite:data/statusmirror.db or \
                    sqlite:/var/lib/statusmirror/statusmirror.db";

/// Path in `sqlite:PATH`, `sqlite://PATH` or either with `?mode=rwc`; the error says what to write instead.
pub(crate) fn path(url: &str) -> Result<PathBuf, String> {
    let bare = url.strip_prefix("sqlite:").ok_or_else(|| FORM_HINT.to_owned())?;
    let (bare, parameters) = bare.split_once('?').unwrap_or((bare, ""));
    // `mode=rwc` is the default behavior: read, write, and create the file if it does not exist.
    if let Some(other) = parameters.split('&').find(|one| !["", "mode=rwc"].contains(one)) {
        return Err(format!(
            "`?{other}` cannot be set: the file is read, written and created as needed; remove it"
        ));
    }
    let (path, is_url) = match bare.strip_prefix("//") {
        Some(path) => (path, true),
        None => (bare, false),
    };
    if path.contains(":memory:") || path.is_empty() && !parameters.is_empty() {
        return Err(format!("a database in memory would not be durable; {FORM_HINT}"));
    }
    if path.is_empty() || path.ends_with('/') || path.starts_with("file:") {
        return Err(FORM_HINT.to_owned());
    }
    if path.trim() != path || path.contains(char::is_control) {
        return Err(format!(
            "the path begins or ends with a blank or has a control character; {FORM_HINT}"
        ));
    }
    if path.starts_with("~/") {
        return Err(
            "`~` is not expanded; write the absolute path of your home directory".to_owned()
        );
    }
    if is_url && path.contains('%') {
        return Err(format!(
            "`%` is not decoded; write the path without percent-encoding, after sqlite: without \
             slashes; {FORM_HINT}"
        ));
    }
    // Libraries that count slashes differently mean the same file.
    Ok(match path.trim_start_matches('/') {
        rest if rest.len() < path.len() => PathBuf::from(format!("/{rest}")),
        _ => PathBuf::from(path),
    })
}

/// Warning if users other than the owner may read or write the database.
pub fn permissions_warning(database: &Path) -> Option<String> {
    let database = real_path(database);
    let files = ["", "-wal", "-shm"].map(|suffix| with_suffix(&database, suffix));
    let (path, mode) = files.iter().find_map(|path| {
        let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
        (mode & 0o066 != 0).then_some((path, mode))
    })?;
    Some(format!(
        "{} has mode {mode:03o}, so users other than its owner can open the file, and it holds \
         phone numbers; run `chmod 600` on it",
        path.display()
    ))
}
