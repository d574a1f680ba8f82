//! What makes the first start work without any configuration: a source and a key of the machine's
//! own making, kept beside the database for its owner alone.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::net::ToSocketAddrs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::ConfigError;

/// The name of the source and of the key.
pub const NAME: &str = "demo";

/// Whether secrets that are not there yet may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrets {
    /// They are made and kept.
    Make,
    /// They must be there.
    Find,
    /// They are made if need be, but not kept: nothing is written.
    Imagine,
}

/// A secret that was made by this program, and whether just now.
#[derive(Debug, Clone)]
pub struct Made {
    /// Where it is kept.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
    /// Whether it is new.
    pub new: bool,
}

/// The secret kept as `demo.{kind}` beside the database.
pub(super) fn secret(database: &Path, kind: &str, secrets: Secrets) -> Result<Made, ConfigError> {
    let path = database.with_file_name(format!("{NAME}.{kind}"));
    match fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => {
            return Ok(Made { path, text: text.trim().to_owned(), new: false });
        }
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(ConfigError::File { path, error: error.to_string() }),
    }
    if secrets == Secrets::Find {
        return Err(ConfigError::File {
            path,
            error: "not made yet; `statusmirror serve` makes it at its first start".to_owned(),
        });
    }
    // Two random UUIDs have 244 random bits.
    let text = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    if secrets == Secrets::Imagine {
        return Ok(Made { path, text, new: true });
    }
    let failed =
        |error: std::io::Error| ConfigError::Make { path: path.clone(), error: error.to_string() };
    if let Some(directory) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        fs::create_dir_all(directory).map_err(failed)?;
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .map_err(failed)?;
    writeln!(file, "{text}").map_err(failed)?;
    file.sync_all().map_err(failed)?;
    Ok(Made { path, text, new: true })
}

/// Refuses to be reached from elsewhere with secrets that nobody chose.
pub(super) fn require_loopback(listen: &str, missing: &str) -> Result<(), ConfigError> {
    let mut addresses = listen.to_socket_addrs().map_err(|error| {
        ConfigError::at(
            "server.listen",
            format!("`{listen}` is no address: {error}; write host:port"),
        )
    })?;
    if addresses.all(|address| address.ip().is_loopback()) {
        return Ok(());
    }
    Err(ConfigError::at(
        "server.listen",
        format!(
            "{listen} can be reached from elsewhere, and {missing} configured; configure some, or \
             listen on 127.0.0.1"
        ),
    ))
}
