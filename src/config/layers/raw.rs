//! Raw settings: the configuration as it is written.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::regular_file::absolute;
use crate::config::secret::Secret;
use crate::config::store_url;
use crate::verify::Window;

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Raw {
    pub(crate) server: Server,
    pub(crate) store: Store,
    pub(crate) quarantine: Quarantine,
    pub(crate) log: Log,
    #[serde(default)]
    pub(crate) api_keys: BTreeMap<String, ApiKey>,
    #[serde(default)]
    pub(crate) sources: BTreeMap<String, Source>,
}

impl Raw {
    /// All configured paths, with their keys.
    pub(crate) fn paths(&self) -> Vec<(String, PathBuf)> {
        let mut paths = Vec::new();
        if let Ok(database) = store_url::path(&self.store.url) {
            paths.push(("store.url".to_owned(), database));
        }
        let mut add = |key: String, secret: &Secret| {
            if let Secret::File { file } = secret {
                paths.push((key, file.clone()));
            }
        };
        for (name, key) in &self.api_keys {
            key.key.iter().for_each(|secret| add(format!("api_keys.{name}.key"), secret));
        }
        for (name, source) in &self.sources {
            let secrets = source.verify.secrets.iter().flat_map(OneOrMany::as_slice);
            secrets.for_each(|secret| add(format!("sources.{name}.verify.secrets"), secret));
        }
        paths
    }

    /// Files that hold secrets. They include `config_file`, the configuration file, if a secret is written as
    /// text in it or in the environment.
    pub(crate) fn secret_files(&self, config_file: Option<&Path>) -> Vec<PathBuf> {
        let key_secrets = self.api_keys.values().filter_map(|key| key.key.as_ref());
        let source_secrets =
            self.sources.values().filter_map(|source| source.verify.secrets.as_ref());
        let source_secrets = source_secrets.flat_map(OneOrMany::as_slice);
        let file = |secret: &Secret| match secret {
            Secret::File { file } => Some(absolute(file)),
            Secret::Text(_) => config_file.map(Path::to_owned),
            Secret::Env { .. } => None,
        };
        let files: BTreeSet<_> = key_secrets.chain(source_secrets).filter_map(file).collect();
        files.into_iter().collect()
    }
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a section")]
pub(crate) struct Server {
    pub(crate) listen: String,
    pub(crate) internal_listen: String,
    pub(crate) public_url: String,
    pub(crate) trusted_proxies: List,
    pub(crate) max_event_streams: usize,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a section")]
pub(crate) struct Store {
    pub(crate) url: String,
    pub(crate) max_in_flight: usize,
    pub(crate) retention: String,
    pub(crate) checkpoints: String,
    pub(crate) allow_network_filesystem: bool,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a section")]
pub(crate) struct Quarantine {
    pub(crate) max_rows: u64,
    pub(crate) max_bytes: u64,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a section")]
pub(crate) struct Log {
    pub(crate) level: String,
    pub(crate) format: String,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a section")]
pub(crate) struct ApiKey {
    pub(crate) key: Option<Secret>,
    pub(crate) sha256: Option<String>,
    #[serde(default = "read_scope")]
    pub(crate) scopes: List,
    pub(crate) expires: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a section")]
pub(crate) struct Source {
    #[serde(default = "gateway")]
    pub(crate) dialect: String,
    #[serde(default)]
    pub(crate) provider: String,
    #[serde(default)]
    pub(crate) public_url: String,
    #[serde(default = "max_body_bytes")]
    pub(crate) max_body_bytes: usize,
    /// Zero: unlimited.
    #[serde(default)]
    pub(crate) max_rate: u32,
    pub(crate) verify: Verify,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a section like { scheme = \"url-token\", secrets = [{ env = \"NAME\" }] }"
)]
pub(crate) struct Verify {
    pub(crate) scheme: String,
    pub(crate) secrets: Option<OneOrMany<Secret>>,
    #[serde(default = "max_age_seconds")]
    pub(crate) max_age_seconds: u32,
    #[serde(default = "max_skew_seconds")]
    pub(crate) max_skew_seconds: u32,
    pub(crate) header: Option<String>,
    pub(crate) algorithm: Option<String>,
    pub(crate) encoding: Option<String>,
    pub(crate) prefix: Option<String>,
    pub(crate) separator: Option<String>,
    pub(crate) signed: Option<String>,
    pub(crate) timestamp: Option<String>,
    pub(crate) timestamp_unit: Option<String>,
    pub(crate) id_header: Option<String>,
    pub(crate) secret_encoding: Option<String>,
}

impl Verify {
    /// Key that only the scheme `hmac` has, if one is set.
    pub(crate) fn hmac_only_key(&self) -> Option<&'static str> {
        let keys = [
            ("header", &self.header),
            ("algorithm", &self.algorithm),
            ("encoding", &self.encoding),
            ("prefix", &self.prefix),
            ("separator", &self.separator),
            ("signed", &self.signed),
            ("timestamp", &self.timestamp),
            ("timestamp_unit", &self.timestamp_unit),
            ("id_header", &self.id_header),
            ("secret_encoding", &self.secret_encoding),
        ];
        keys.into_iter().find(|(_, value)| value.is_some()).map(|(key, _)| key)
    }
}

/// List, or one value that is read as a list of one: the environment has no lists.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(
    untagged,
    expecting = "write a text or a list of texts; a secret may also be { env = \"NAME\" } or \
                 { file = \"PATH\" }"
)]
pub(crate) enum OneOrMany<T> {
    Many(Vec<T>),
    One(T),
}

impl<T> OneOrMany<T> {
    fn as_slice(&self) -> &[T] {
        match self {
            Self::Many(values) => values.as_slice(),
            Self::One(value) => std::slice::from_ref(value),
        }
    }

    pub(crate) fn into_vec(self) -> Vec<T> {
        match self {
            Self::Many(values) => values,
            Self::One(value) => vec![value],
        }
    }
}

/// List of texts without commas, which may also be written as one text separated by commas: the environment
/// has no lists.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(from = "OneOrMany<String>")]
pub(crate) struct List(pub(crate) Vec<String>);

impl From<OneOrMany<String>> for List {
    fn from(written: OneOrMany<String>) -> Self {
        Self(match written {
            OneOrMany::Many(values) => values,
            OneOrMany::One(text) => {
                let values = text.split(',').map(str::trim).filter(|value| !value.is_empty());
                values.map(str::to_owned).collect()
            }
        })
    }
}

/// Runtime directory that systemd gives a service, for files that do not outlive the boot.
pub(crate) fn runtime_directory() -> Option<PathBuf> {
    let paths = std::env::var_os("RUNTIME_DIRECTORY")?;
    // Of several directories, separated by colons, the first is the service's own.
    std::env::split_paths(&paths).next()
}

fn gateway() -> String {
    "gateway".to_owned()
}

fn max_body_bytes() -> usize {
    256 << 10
}

fn read_scope() -> List {
    List(vec!["read".to_owned()])
}

fn max_age_seconds() -> u32 {
    Window::default().max_age_seconds
}

fn max_skew_seconds() -> u32 {
    Window::default().max_skew_seconds
}
