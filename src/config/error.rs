//! Errors of the configuration: the file or variable, the key, and the remedy.

use std::path::PathBuf;

use thiserror::Error;

/// Error in the configuration, and how to fix it.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// File that cannot be read, or is not TOML.
    #[error("{path}: {error}")]
    File {
        /// Path of the file.
        path: PathBuf,
        /// Problem with the file.
        error: String,
    },
    /// File that exists and cannot be read.
    #[error("{path}: cannot be read: {error}")]
    Unreadable {
        /// Path of the file.
        path: PathBuf,
        /// Reason of the failure.
        error: String,
    },
    /// Reload that would remove so much that it must be confirmed.
    #[error("the reload would {0}; to confirm, run `statusmirror reload --yes`")]
    Unconfirmed(String),
    /// File that cannot be created.
    #[error("cannot create {path}: {error}")]
    Make {
        /// Path of the file.
        path: PathBuf,
        /// Reason of the failure.
        error: String,
    },
    /// Key with a wrong value.
    #[error("{origin}: {key}: {remedy}")]
    Key {
        /// File or variable that sets the key.
        origin: String,
        /// The key.
        key: String,
        /// Problem, and how to fix it.
        remedy: String,
    },
}

impl ConfigError {
    pub(crate) fn at(key: &str, remedy: String) -> Self {
        Self::Key { origin: "configuration".to_owned(), key: key.to_owned(), remedy }
    }
}
