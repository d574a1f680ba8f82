//! Reload guard: settings in effect while a service runs, and limits on what a reload may change.
//!
//! A reload reads the file while somebody may be writing it, so it can read any truncation of it. A file that
//! has lost its sections is valid TOML; therefore the guard counts the sources and keys that a reload would
//! remove. A reload never replaces configured keys or sources by demo ones.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::error::ConfigError;
use super::settings::{Config, Server};

/// Configuration in effect: some settings until the process ends, keys and sources until a reload.
#[derive(Debug, Clone)]
pub struct Running {
    pub(crate) server: Server,
    pub(crate) database: PathBuf,
    start_only: BTreeMap<String, String>,
    in_effect: KeysAndSources,
}

/// Sources and API keys in effect.
#[derive(Debug, Clone)]
struct KeysAndSources {
    sources: Vec<String>,
    keys: Vec<(String, [u8; 32])>,
    has_demo_source: bool,
    has_demo_key: bool,
}

impl From<&Config> for KeysAndSources {
    fn from(config: &Config) -> Self {
        Self {
            sources: config.sources.iter().map(|source| source.name.clone()).collect(),
            keys: config.api_keys.iter().map(|key| (key.name.clone(), key.sha256)).collect(),
            has_demo_source: config.demo_secret.is_some(),
            has_demo_key: config.demo_key.is_some(),
        }
    }
}

impl Config {
    /// Part of the configuration that stays in effect while the process runs.
    pub fn running(&self) -> Running {
        Running::new(self)
    }
}

impl Running {
    /// Takes the configuration in effect from `config`.
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            server: config.server.clone(),
            database: config.store.path.clone(),
            start_only: config.start_only.clone(),
            in_effect: KeysAndSources::from(config),
        }
    }

    /// Puts the keys and sources of this configuration into effect.
    pub fn apply(&mut self, config: &Config) {
        self.in_effect = KeysAndSources::from(config);
    }

    /// Keys that this configuration changes and that take effect at the next start.
    pub fn needs_restart(&self, config: &Config) -> Vec<String> {
        let keys = self.start_only.keys().chain(config.start_only.keys());
        let mut changed: Vec<_> = keys
            .filter(|key| self.start_only.get(*key) != config.start_only.get(*key))
            .cloned()
            .collect();
        changed.sort_unstable();
        changed.dedup();
        changed
    }

    /// Whether the demo source is allowed, which is used because none is configured.
    pub(crate) fn allows_demo_source(&self) -> bool {
        self.in_effect.has_demo_source
    }

    /// Whether the demo key is allowed, which is used because none is configured.
    pub(crate) fn allows_demo_key(&self) -> bool {
        self.in_effect.has_demo_key
    }

    /// Rejects a configuration that would leave no source or no key, or remove more than half of either.
    pub(crate) fn check_removals(&self, config: &Config) -> Result<(), ConfigError> {
        let KeysAndSources { sources, keys, has_demo_source, has_demo_key } = &self.in_effect;
        let is_source = |name: &&String| config.sources.iter().any(|new| new.name == **name);
        // A renamed key is still valid.
        let is_key = |(name, hash): &&(String, [u8; 32])| {
            config.api_keys.iter().any(|new| new.name == *name || new.sha256 == *hash)
        };
        let removed: Vec<_> = sources.iter().filter(|source| !is_source(source)).collect();
        let removed_keys: Vec<_> =
            keys.iter().filter(|key| !is_key(key)).map(|(name, _)| name).collect();
        let checks = [
            ("sources", *has_demo_source, sources.len(), removed, config.sources.is_empty()),
            ("API keys", *has_demo_key, keys.len(), removed_keys, config.api_keys.is_empty()),
        ];
        let mut wrong = Vec::new();
        for (what, is_demo, all, removed, is_left_empty) in checks {
            // Removing a demo source or key loses nothing that was configured.
            let is_most = !is_demo && removed.len() * 2 > all;
            if is_most {
                let names: Vec<_> = removed.iter().map(|name| name.as_str()).collect();
                wrong.push(format!(
                    "remove {} of {all} {what} ({})",
                    removed.len(),
                    names.join(", ")
                ));
            } else if is_left_empty {
                wrong.push(format!("leave no {what}"));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(ConfigError::Unconfirmed(wrong.join(" and "))) }
    }
}
