//! What makes the first start work without any configuration: a source and a key of the machine's
//! own making, kept beside the database for its owner alone.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::net::ToSocketAddrs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::{ConfigError, regular};
use crate::store::sqlite::make_private_directory;

/// The name of the source and of the key.
pub const NAME: &str = "demo";

/// A longer file holds no secret of this program's making.
const LONGEST: u64 = 64 << 10;

/// Whether secrets that are not there yet may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrets {
    /// They are made and kept.
    Make,
    /// They must be there.
    Find,
    /// They are used if they are there. Else there is no source or no key, as for a command that needs the
    /// database alone.
    IfThere,
    /// They are made if need be, but not kept: nothing is written.
    Imagine,
}

/// A secret that was made by this program, and whether just now. Has no `Debug` form.
#[derive(Clone)]
pub struct Made {
    /// Where it is kept.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
    /// Whether it is new.
    pub new: bool,
}

/// The secret of a source (`secret`) or an API key (`key`) that stands in where none is configured, for a
/// server that listens at the address in `setting`; none if the command does without.
pub(super) fn stands_in(
    setting: &str,
    listen: &str,
    database: &Path,
    kind: &str,
    secrets: Secrets,
) -> Result<Option<Made>, ConfigError> {
    let missing = if kind == "key" { "no API key is" } else { "no source is" };
    let is_local = require_loopback(setting, listen, missing);
    match is_local.map(|()| secret(database, kind, secrets)) {
        Ok(Ok(made)) => Ok(Some(made)),
        // Most commands need no key.
        Ok(Err(_not_made)) if kind == "key" && secrets == Secrets::Find => Ok(None),
        Ok(Err(_)) | Err(_) if secrets == Secrets::IfThere => Ok(None),
        Ok(Err(error)) | Err(error) => Err(error),
    }
}

/// The secret kept as `demo.{kind}` beside the database.
fn secret(database: &Path, kind: &str, secrets: Secrets) -> Result<Made, ConfigError> {
    let path = database.with_file_name(format!("{NAME}.{kind}"));
    if let Some(text) = kept(&path)? {
        return Ok(Made { path, text, new: false });
    }
    // Two random UUIDs have 244 random bits.
    let text = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    match secrets {
        Secrets::Imagine => Ok(Made { path, text, new: true }),
        Secrets::Find | Secrets::IfThere => Err(ConfigError::File {
            path,
            error: "not made yet; `statusmirror serve` makes it at its first start".to_owned(),
        }),
        Secrets::Make => match keep(&path, &text) {
            Ok(()) => Ok(Made { path, text, new: true }),
            // Another process was faster; it is known now.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let text = kept(&path)?.ok_or_else(|| ConfigError::File {
                    path: path.clone(),
                    error: "it is empty; remove it".to_owned(),
                })?;
                Ok(Made { path, text, new: false })
            }
            Err(error) => Err(ConfigError::Make { path, error: error.to_string() }),
        },
    }
}

fn kept(path: &Path) -> Result<Option<String>, ConfigError> {
    match regular::read(path, LONGEST) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ConfigError::File { path: path.to_owned(), error: error.to_string() }),
    }
}

fn keep(path: &Path, text: &str) -> std::io::Result<()> {
    make_private_directory(path)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{text}")?;
    file.sync_all()
}

/// Refuses to be reached from elsewhere with secrets that nobody chose.
fn require_loopback(key: &str, listen: &str, missing: &str) -> Result<(), ConfigError> {
    let mut addresses = listen.to_socket_addrs().map_err(|error| {
        ConfigError::at(key, format!("`{listen}` is no address: {error}; write host:port"))
    })?;
    if addresses.all(|address| address.ip().is_loopback()) {
        return Ok(());
    }
    Err(ConfigError::at(
        key,
        format!(
            "{listen} can be reached from elsewhere, and {missing} configured; configure some, or \
             listen on 127.0.0.1"
        ),
    ))
}
