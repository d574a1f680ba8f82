//! The configuration as it is written: layers, keys, and what is wrong with them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use config::{Environment, File, FileFormat, Format, Map, Source as Layer, Value, ValueKind};
use serde::{Deserialize, Serialize};

use super::secret::Secret;
use super::setting::{Origins, PREFIX};
use super::{ConfigError, database, regular, whole};
use crate::proof::Window;

/// A longer file is no configuration.
const LONGEST: u64 = 16 << 20;

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
    /// Every path that is written, with its key.
    pub(super) fn paths(&self) -> Vec<(String, PathBuf)> {
        let mut paths = Vec::new();
        if let Ok(database) = database::path(&self.store.url) {
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

    /// The files that hold secrets; this one does if any is written in it, or in the environment.
    pub(super) fn secret_files(&self, own: Option<&Path>) -> Vec<PathBuf> {
        let of_keys = self.api_keys.values().filter_map(|key| key.key.as_ref());
        let of_sources = self.sources.values().filter_map(|source| source.verify.secrets.as_ref());
        let of_sources = of_sources.flat_map(OneOrMany::as_slice);
        let file = |secret: &Secret| match secret {
            Secret::File { file } => Some(whole(file)),
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
    pub(super) trusted_proxies: List,
    pub(super) max_event_streams: usize,
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
    pub(super) max_bytes: u64,
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
    pub(super) scopes: List,
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
    /// 0: any number.
    #[serde(default)]
    pub(super) max_rate: u32,
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
    fn as_slice(&self) -> &[T] {
        match self {
            Self::Many(values) => values.as_slice(),
            Self::One(value) => std::slice::from_ref(value),
        }
    }

    pub(super) fn into_vec(self) -> Vec<T> {
        match self {
            Self::Many(values) => values,
            Self::One(value) => vec![value],
        }
    }
}

/// A list of texts without commas, so that one text can hold several: the environment has no lists.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(from = "OneOrMany<String>")]
pub(super) struct List(pub(super) Vec<String>);

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

fn read_scope() -> List {
    List(vec!["read".to_owned()])
}

fn max_age_seconds() -> u32 {
    Window::default().max_age_seconds
}

fn max_skew_seconds() -> u32 {
    Window::default().max_skew_seconds
}

/// The configuration file, read once.
#[derive(Debug, Clone)]
struct Written(Map<String, Value>);

impl Written {
    fn read(path: &Path) -> Result<Self, ConfigError> {
        let wrong = |error: String| ConfigError::File { path: path.to_owned(), error };
        let text = regular::read(path, LONGEST).map_err(|error| {
            if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidData) {
                return wrong(error.to_string());
            }
            ConfigError::Unreadable { path: path.to_owned(), error: error.to_string() }
        })?;
        let shown = path.display().to_string();
        let values = FileFormat::Toml
            .parse(Some(&shown), text.strip_prefix('\u{feff}').unwrap_or(&text))
            .map_err(|error| wrong(without_excerpt(&error.to_string())))?;
        Ok(Self(values))
    }
}

impl Layer for Written {
    fn clone_into_box(&self) -> Box<dyn Layer + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.0.clone())
    }
}

/// Reads all layers: the defaults, the file if one is given, the environment.
pub(super) fn read(file: Option<&Path>) -> Result<(Raw, Origins<'_>), ConfigError> {
    let mut layers =
        config::Config::builder().add_source(File::from_str(DEFAULTS, FileFormat::Toml));
    let mut sets_nothing = false;
    if let Some(path) = file {
        let written = Written::read(path)?;
        sets_nothing = written.0.values().all(is_without_values);
        layers = layers.add_source(written);
    }
    let environment = Environment::with_prefix(PREFIX).prefix_separator("__").separator("__");
    let layers = layers
        .add_source(environment)
        .build()
        .map_err(|error| ConfigError::at("", error.to_string()))?;
    let origins = Origins::new(layers.cache.clone(), file, sets_nothing);
    match serde_path_to_error::deserialize(layers) {
        Ok(raw) => {
            origins.require_whole_paths(&raw)?;
            Ok((raw, origins))
        }
        Err(error) => {
            let path = error.path().to_string();
            let (key, mend) = words(&path, &error.into_inner().to_string());
            Err(ConfigError::Key { origin: origins.of(&key), key, mend })
        }
    }
}

/// Whether a section has no value, in itself or in a section within it.
fn is_without_values(value: &Value) -> bool {
    if let ValueKind::Table(section) = &value.kind {
        section.values().all(is_without_values)
    } else {
        false
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
