//! What holds while a service runs, and what a reload may change of it.
//!
//! A reload reads the file while somebody may be writing it, so it can meet any beginning of it. A
//! file that has lost its sections is valid TOML; what it would take away is therefore counted. It
//! never makes keys or a source of its own in the place of what was configured.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Config, ConfigError, Server};

/// What of the configuration holds: some until the process ends, keys and sources until a reload.
#[derive(Debug, Clone)]
pub struct Running {
    pub(super) server: Server,
    pub(super) database: PathBuf,
    fixed: BTreeMap<String, String>,
    holds: Holds,
}

/// Who may post and ask.
#[derive(Debug, Clone)]
struct Holds {
    sources: Vec<String>,
    keys: Vec<(String, [u8; 32])>,
    made_source: bool,
    made_key: bool,
}

impl From<&Config> for Holds {
    fn from(config: &Config) -> Self {
        Self {
            sources: config.sources.iter().map(|source| source.name.clone()).collect(),
            keys: config.api_keys.iter().map(|key| (key.name.clone(), key.sha256)).collect(),
            made_source: config.demo_secret.is_some(),
            made_key: config.demo_key.is_some(),
        }
    }
}

impl Running {
    /// What holds of this configuration from now on.
    pub(super) fn new(config: &Config) -> Self {
        Self {
            server: config.server.clone(),
            database: config.store.path.clone(),
            fixed: config.fixed.clone(),
            holds: Holds::from(config),
        }
    }

    /// From now on the keys and sources of this configuration hold.
    pub fn reloaded(&mut self, config: &Config) {
        self.holds = Holds::from(config);
    }

    /// The keys that this configuration has changed, and that take effect at the next start.
    pub fn needs_restart(&self, config: &Config) -> Vec<String> {
        let keys = self.fixed.keys().chain(config.fixed.keys());
        let mut changed: Vec<_> =
            keys.filter(|key| self.fixed.get(*key) != config.fixed.get(*key)).cloned().collect();
        changed.sort_unstable();
        changed.dedup();
        changed
    }

    /// Whether the source may be one that was made because none is configured.
    pub(super) fn may_make_source(&self) -> bool {
        self.holds.made_source
    }

    /// Whether the key may be one that was made because none is configured.
    pub(super) fn may_make_key(&self) -> bool {
        self.holds.made_key
    }

    /// Rejects what would leave no source or no key, or remove more than half of them.
    pub(super) fn judge(&self, config: &Config) -> Result<(), ConfigError> {
        let Holds { sources, keys, made_source, made_key } = &self.holds;
        let is_source = |name: &&String| config.sources.iter().any(|new| new.name == **name);
        // A key that only got another name still opens.
        let is_key = |(name, hash): &&(String, [u8; 32])| {
            config.api_keys.iter().any(|new| new.name == *name || new.sha256 == *hash)
        };
        let gone: Vec<_> = sources.iter().filter(|source| !is_source(source)).collect();
        let gone_keys: Vec<_> =
            keys.iter().filter(|key| !is_key(key)).map(|(name, _)| name).collect();
        let checks = [
            ("sources", *made_source, sources.len(), gone, config.sources.is_empty()),
            ("API keys", *made_key, keys.len(), gone_keys, config.api_keys.is_empty()),
        ];
        let mut wrong = Vec::new();
        for (what, made, all, gone, is_left_empty) in checks {
            // Nobody is sorry for what was only made because nothing was configured.
            let is_most = !made && gone.len() * 2 > all;
            if is_most {
                let names: Vec<_> = gone.iter().map(|name| name.as_str()).collect();
                wrong.push(format!("remove {} of {all} {what} ({})", gone.len(), names.join(", ")));
            } else if is_left_empty {
                wrong.push(format!("leave no {what}"));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(ConfigError::Unconfirmed(wrong.join(" and "))) }
    }
}
