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
    #[error("cannot create {path}: {error}; choose another store.url, or make its folder writable")]
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
    /// Several mistakes, in the order of the file.
    #[error("{} mistakes in the configuration:{}", .0.len(), list(.0))]
    Several(Vec<ConfigError>),
}

impl ConfigError {
    /// Message of each mistake.
    pub(crate) fn messages(&self) -> Vec<String> {
        if let Self::Several(mistakes) = self {
            mistakes.iter().flat_map(Self::messages).collect()
        } else {
            vec![self.to_string()]
        }
    }

    pub(crate) fn at(key: &str, remedy: String) -> Self {
        Self::Key { origin: "configuration".to_owned(), key: key.to_owned(), remedy }
    }
}

/// Messages of these errors, each on a line of its own.
fn list(errors: &[ConfigError]) -> String {
    let lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
    format!("\n  {}", lines.join("\n  "))
}

/// Mistakes found so far. Reading goes on after a mistake, so that one run reports all.
#[derive(Debug, Default)]
pub(crate) struct Mistakes(Vec<ConfigError>);

impl Mistakes {
    /// Adds a mistake, unless there is one with the same message.
    pub(crate) fn add(&mut self, mistake: ConfigError) {
        let message = mistake.to_string();
        if self.0.iter().all(|other| other.to_string() != message) {
            self.0.push(mistake);
        }
    }

    /// Value of a result; `None` if it is a mistake, which is added.
    pub(crate) fn value<T>(&mut self, result: Result<T, ConfigError>) -> Option<T> {
        result.map_err(|mistake| self.add(mistake)).ok()
    }

    /// Whether there is no mistake.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Mistakes about keys in the order of their lines, then all others.
    pub(crate) fn in_order_of(mut self, line: impl Fn(&str) -> Option<usize>) -> Vec<ConfigError> {
        let line = |mistake: &ConfigError| {
            if let ConfigError::Key { key, .. } = mistake { line(key) } else { None }
        };
        self.0.sort_by_key(|mistake| line(mistake).unwrap_or(usize::MAX));
        self.0
    }

    /// Error with all mistakes, of which there must be at least one.
    pub(crate) fn into_error(mut self) -> ConfigError {
        match self.0.pop() {
            Some(only) if self.0.is_empty() => only,
            last => {
                self.0.extend(last);
                ConfigError::Several(self.0)
            }
        }
    }
}
