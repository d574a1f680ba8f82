//! Configuration as commands read it, and messages about it.

use std::io::{self, Write};
use std::path::Path;

use super::exit_code::Failure;
use crate::config::{self, Config, Secrets};
use crate::store::sqlite;

/// Prints a newly generated key on standard output, because the log keeps no secrets.
pub(crate) fn show_new_key(config: &Config) {
    if let Some(key) = config.demo_key.as_ref().filter(|key| key.new) {
        let path = config::absolute(&key.path);
        drop(writeln!(io::stdout(), "new API key: {} (kept in {})", key.text, path.display()));
    }
}

/// Reads the configuration. Resolves links in the database's path.
pub(crate) fn read_config(file: Option<&Path>, secrets: Secrets) -> Result<Config, Failure> {
    let mut config = config::read(file, secrets)?;
    config.store.path = sqlite::real_path(&config.store.path);
    Ok(config)
}
