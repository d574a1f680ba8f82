//! Typed settings.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::bootstrap::GeneratedSecret;
use super::error::ConfigError;
use crate::access::api_key::ApiKey;
use crate::access::trusted_proxies::TrustedProxies;
use crate::config::layers::provenance::Setting;
use crate::dialect::Source;
use crate::store::sqlite::Settings;

/// Complete configuration.
pub struct Config {
    /// Listeners, and the public URL.
    pub server: Server,
    /// Store settings: path and limits of the database.
    pub store: Settings,
    /// Age after its last notification at which a message is purged; `None`: kept for ever.
    pub retention: Option<Duration>,
    /// Log settings.
    pub log: Log,
    /// Sources of webhooks.
    pub sources: Vec<Source>,
    /// API keys.
    pub api_keys: Vec<ApiKey>,
    /// Demo secret of the source, generated because no source is configured.
    pub demo_secret: Option<GeneratedSecret>,
    /// Demo API key, generated because no key is configured.
    pub demo_key: Option<GeneratedSecret>,
    /// Files that hold secrets.
    pub secret_files: Vec<PathBuf>,
    /// Warnings for the operator.
    pub warnings: Vec<String>,
    /// All settings in effect, without secrets.
    pub settings: Vec<Setting>,
    /// File that was read, if any.
    pub file: Option<PathBuf>,
    /// Whether that file has no setting.
    pub has_no_settings: bool,
    /// Database path as it is written; `store` has the absolute one.
    pub written_database: PathBuf,
    /// Keys that are read only at the start, with their values.
    pub(crate) start_only: BTreeMap<String, String>,
}

/// Listeners of the server.
#[derive(Debug, Clone)]
pub struct Server {
    /// Host and port.
    pub listen: String,
    /// Host and port for everything but webhooks, if that has a listener of its own.
    pub internal_listen: Option<String>,
    /// Proxies whose `X-Forwarded-For` is trusted.
    pub trusted_proxies: TrustedProxies,
    /// Maximum number of concurrent event streams.
    pub max_event_streams: usize,
    /// URL under which senders reach the service; empty if not set.
    pub public_url: String,
}

/// Log settings.
#[derive(Debug, Clone)]
pub struct Log {
    /// Minimum level that is logged.
    pub level: String,
    /// `auto`, `pretty` or `json`.
    pub format: String,
}

impl Config {
    /// Rejects a file that has no setting: it was emptied, or is the wrong file. Accepts that no file is
    /// given.
    pub fn require_settings(&self) -> Result<(), ConfigError> {
        require_settings(self.file.as_deref(), self.has_no_settings)
    }
}

pub(crate) fn require_settings(
    file: Option<&Path>,
    has_no_settings: bool,
) -> Result<(), ConfigError> {
    match file {
        Some(path) if has_no_settings => Err(ConfigError::File {
            path: path.to_owned(),
            error: "the file has no settings; add settings, or start without a file for a demo"
                .to_owned(),
        }),
        _ => Ok(()),
    }
}
