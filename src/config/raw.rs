//! The configuration as it is written: layers, keys, and what is wrong with them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use config::{Environment, File, FileFormat};
use serde::{Deserialize, Serialize, Serializer};

use super::ConfigError;
use super::setting::{Origins, PREFIX};
use crate::proof::Window;

/// Every key with its default, as the first layer.
const DEFAULTS: &str = include_str!("../../config/statusmirror.toml");

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    pub(super) server: Server,
    pub(super) store: Store,
    pub(super) quarantine: Quarantine,
    pub(super) log: Log,
    #[serde(default)]
    pub(super) api_keys: BTreeMap<String, ApiKey>,
    #[serde(default)]
    pub(super) sources: BTreeMap<String, Source>,
}

impl Raw {
    /// The files that hold secrets; this one does if any is written in it, or in the environment.
    pub(super) fn secret_files(&self, own: Option<&Path>) -> Vec<PathBuf> {
        let of_keys = self.api_keys.values().filter_map(|key| key.key.as_ref());
        let of_sources = self.sources.values().filter_map(|source| source.verify.secrets.as_ref());
        let of_sources = of_sources.flat_map(|secrets| match secrets {
            OneOrMany::Many(secrets) => secrets.as_slice(),
            OneOrMany::One(secret) => std::slice::from_ref(secret),
        });
        let file = |secret: &Secret| match secret {
            Secret::File { file } => Some(file.clone()),
            Secret::Text(_) => own.map(Path::to_owned),
            Secret::Env { .. } => None,
        };
        let files: BTreeSet<_> = of_keys.chain(of_sources).filter_map(file).collect();
        files.into_iter().collect()
    }
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a section")]
pub(super) struct Server {
    pub(super) listen: String,
    pub(super) internal_listen: String,
    pub(super) public_url: String,
    pub(super) trusted_proxies: OneOrMany<String>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a section")]
pub(super) struct Store {
    pub(super) url: String,
    pub(super) queue: usize,
    pub(super) retention: String,
    pub(super) checkpoints: String,
    pub(super) any_filesystem: bool,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a section")]
pub(super) struct Quarantine {
    pub(super) max_rows: u64,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a section")]
pub(super) struct Log {
    pub(super) level: String,
    pub(super) format: String,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a section")]
pub(super) struct ApiKey {
    pub(super) key: Option<Secret>,
    pub(super) sha256: Option<String>,
    #[serde(default = "read_scope")]
    pub(super) scopes: OneOrMany<String>,
    pub(super) expires: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a section")]
pub(super) struct Source {
    #[serde(default = "gateway")]
    pub(super) dialect: String,
    #[serde(default)]
    pub(super) provider: String,
    #[serde(default)]
    pub(super) public_url: String,
    #[serde(default = "max_body_bytes")]
    pub(super) max_body_bytes: usize,
    pub(super) verify: Verify,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a section like { scheme = \"url-token\", secrets = [{ env = \"NAME\" }] }"
)]
pub(super) struct Verify {
    pub(super) scheme: String,
    pub(super) secrets: Option<OneOrMany<Secret>>,
    #[serde(default = "max_age_seconds")]
    pub(super) max_age_seconds: u32,
    #[serde(default = "max_skew_seconds")]
    pub(super) max_skew_seconds: u32,
    pub(super) header: Option<String>,
    pub(super) algorithm: Option<String>,
    pub(super) encoding: Option<String>,
    pub(super) prefix: Option<String>,
    pub(super) separator: Option<String>,
    pub(super) signed: Option<String>,
    pub(super) timestamp: Option<String>,
    pub(super) timestamp_unit: Option<String>,
    pub(super) id_header: Option<String>,
    pub(super) secret_encoding: Option<String>,
}

impl Verify {
    /// One of the keys that only the scheme `hmac` has, if any is set.
    pub(super) fn only_for_hmac(&self) -> Option<&'static str> {
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

/// A list, or one value taken for a list of one: the environment has no lists.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(
    untagged,
    expecting = "write a text or a list of texts; a secret may also be { env = \"NAME\" } or \
                 { file = \"PATH\" }"
)]
pub(super) enum OneOrMany<T> {
    Many(Vec<T>),
    One(T),
}

impl<T> OneOrMany<T> {
    pub(super) fn into_vec(self) -> Vec<T> {
        match self {
            Self::Many(values) => values,
            Self::One(value) => vec![value],
        }
    }
}

/// Where a secret is.
#[derive(Clone, Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "write a text, { env = \"NAME\" } or { file = \"PATH\" }"
)]
pub(super) enum Secret {
    Text(String),
    Env { env: String },
    File { file: PathBuf },
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Secret(…)"),
            Self::Env { env } => write!(f, "Secret(env {env})"),
            Self::File { file } => write!(f, "Secret(file {})", file.display()),
        }
    }
}

/// What is printed of it.
impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let reference = match self {
            Self::Text(_) => return serializer.serialize_str("(hidden)"),
            Self::Env { env } => ("env", env.clone()),
            Self::File { file } => ("file", file.display().to_string()),
        };
        serializer.collect_map([reference])
    }
}

impl Secret {
    /// The secret's text. `key` is the key it is configured under.
    pub(super) fn resolve(self, key: &str) -> Result<String, ConfigError> {
        let text = match &self {
            Self::Text(text) => text.clone(),
            #[expect(clippy::disallowed_methods, reason = "config is what reads the environment")]
            Self::Env { env } => std::env::var(env).map_err(|error| {
                ConfigError::at(key, format!("the environment variable {env} is needed: {error}"))
            })?,
            Self::File { file } => std::fs::read_to_string(file).map_err(|error| {
                ConfigError::at(key, format!("cannot read {}: {error}", file.display()))
            })?,
        };
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.is_empty() {
            return Err(ConfigError::at(key, "the secret is empty; give one".to_owned()));
        }
        Ok(text.to_owned())
    }
}

/// The directory that systemd gives a service for what does not outlive the boot.
pub(super) fn runtime_directory() -> Option<PathBuf> {
    let paths = std::env::var_os("RUNTIME_DIRECTORY")?;
    // Of several, separated by colons, the first is the service's own.
    std::env::split_paths(&paths).next()
}

/// Whether one of the variables is set in which OpenTelemetry expects where traces go:
/// <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>.
#[cfg(feature = "otlp")]
pub(super) fn names_collector() -> bool {
    ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

fn gateway() -> String {
    "gateway".to_owned()
}

fn max_body_bytes() -> usize {
    256 << 10
}

fn read_scope() -> OneOrMany<String> {
    OneOrMany::Many(vec!["read".to_owned()])
}

fn max_age_seconds() -> u32 {
    Window::default().max_age_seconds
}

fn max_skew_seconds() -> u32 {
    Window::default().max_skew_seconds
}

/// Reads all layers: the defaults, the file if one is given, the environment.
pub(super) fn read(file: Option<&Path>) -> Result<(Raw, Origins<'_>), ConfigError> {
    let mut layers =
        config::Config::builder().add_source(File::from_str(DEFAULTS, FileFormat::Toml));
    if let Some(path) = file {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::File {
            path: path.to_owned(),
            error: error.to_string(),
        })?;
        // Read once by itself, because the layers' error would not say which of them it is about.
        config::Config::builder()
            .add_source(File::from_str(&text, FileFormat::Toml))
            .build()
            .map_err(|error| ConfigError::File {
                path: path.to_owned(),
                error: without_excerpt(&error.to_string()),
            })?;
        layers = layers.add_source(File::from(path).format(FileFormat::Toml));
    }
    let environment = Environment::with_prefix(PREFIX).prefix_separator("__").separator("__");
    let layers = layers
        .add_source(environment)
        .build()
        .map_err(|error| ConfigError::at("", error.to_string()))?;
    let origins = Origins::new(layers.cache.clone(), file);
    match serde_path_to_error::deserialize(layers) {
        Ok(raw) => Ok((raw, origins)),
        Err(error) => {
            let path = error.path().to_string();
            let (key, mend) = words(&path, &error.into_inner().to_string());
            Err(ConfigError::Key { origin: origins.of(&key), key, mend })
        }
    }
}

/// What a parser says, without the lines of the file that it shows: they may hold a secret.
fn without_excerpt(said: &str) -> String {
    let is_excerpt = |line: &&str| {
        line.trim_start_matches(|c: char| c == ' ' || c.is_ascii_digit()).starts_with('|')
    };
    let lines: Vec<_> =
        said.lines().filter(|line| !is_excerpt(line) && !line.trim().is_empty()).collect();
    lines.join(": ")
}

/// The key that an error is about, and what to do about it.
fn words(path: &str, said: &str) -> (String, String) {
    let path = if path == "." { "" } else { path };
    let inside = |name: &str| match path.strip_suffix(name).unwrap_or(path).trim_end_matches('.') {
        "" => name.to_owned(),
        parent => format!("{parent}.{name}"),
    };
    // The library repeats the key and its origin, which stand before these words.
    let said = said.split_once(" for key `").map_or(said, |(words, _)| words);
    let mut quoted = said.split('`').skip(1).step_by(2);
    if said.starts_with("unknown field")
        && let Some(unknown) = quoted.next()
    {
        let nearest = quoted.max_by(|one, other| {
            let near = |name: &str| strsim::jaro_winkler(name, unknown);
            near(one).total_cmp(&near(other))
        });
        let mend = match nearest {
            Some(known) => format!("unknown key; did you mean `{known}`?"),
            None => "unknown key; remove it".to_owned(),
        };
        return (inside(unknown), mend);
    }
    if let Some(missing) = said.strip_prefix("missing configuration field ") {
        let name = missing.trim_matches('"').rsplit('.').next().unwrap_or_default();
        return (inside(name), "this key is needed; add it".to_owned());
    }
    (path.to_owned(), said.to_owned())
}
