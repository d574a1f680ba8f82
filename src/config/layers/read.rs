//! Layers of the configuration, read and merged: defaults, file, environment.

use std::io::ErrorKind;
use std::path::Path;

use config::{Environment, File, FileFormat, Format, Map, Source as Layer, Value, ValueKind};

use super::provenance::{Origins, PREFIX};
use super::raw::Raw;
use super::regular_file;
use crate::config::error::ConfigError;

/// Maximum size of a configuration file, in bytes.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// First layer: every key with its default.
const DEFAULTS_TOML: &str = include_str!("../../../config/statusmirror.toml");

/// Renamed settings: the old key and the new one.
const RENAMED_KEYS: [(&str, &str); 2] = [
    ("store.any_filesystem", "store.allow_network_filesystem"),
    ("store.queue", "store.max_in_flight"),
];

/// Whether the environment names a collector of traces. The OpenTelemetry library reads the variables' values:
/// <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>.
#[cfg(feature = "otlp")]
pub fn names_collector() -> bool {
    ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// Configuration file, read once.
#[derive(Debug, Clone)]
struct Written(Map<String, Value>);

impl Written {
    fn read(path: &Path) -> Result<Self, ConfigError> {
        let wrong = |error: String| ConfigError::File { path: path.to_owned(), error };
        let text = regular_file::read(path, MAX_FILE_BYTES).map_err(|error| {
            if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidData) {
                return wrong(error.to_string());
            }
            ConfigError::Unreadable { path: path.to_owned(), error: error.to_string() }
        })?;
        let file_name = path.display().to_string();
        let values = FileFormat::Toml
            .parse(Some(&file_name), text.strip_prefix('\u{feff}').unwrap_or(&text))
            .map_err(|error| {
                let message = without_excerpt(&error.to_string());
                wrong(missing_quotes(&text, &message).unwrap_or(message))
            })?;
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
pub(crate) fn read(file: Option<&Path>) -> Result<(Raw, Origins<'_>), ConfigError> {
    let mut layers =
        config::Config::builder().add_source(File::from_str(DEFAULTS_TOML, FileFormat::Toml));
    let mut has_no_settings = false;
    if let Some(path) = file {
        let written = Written::read(path)?;
        has_no_settings = written.0.values().all(has_no_values);
        layers = layers.add_source(written);
    }
    let environment = Environment::with_prefix(PREFIX).prefix_separator("__").separator("__");
    let layers = layers
        .add_source(environment)
        .build()
        .map_err(|error| ConfigError::at("", error.to_string()))?;
    let origins = Origins::new(layers.cache.clone(), file, has_no_settings);
    match serde_path_to_error::deserialize(layers) {
        Ok(raw) => {
            origins.require_absolute_paths(&raw)?;
            Ok((raw, origins))
        }
        Err(error) => {
            let path = error.path().to_string();
            let (key, remedy) = describe_error(&path, &error.into_inner().to_string());
            Err(ConfigError::Key { origin: origins.fix_location(&key), key, remedy })
        }
    }
}

/// Whether a section has no value, in itself or in a section within it.
fn has_no_values(value: &Value) -> bool {
    if let ValueKind::Table(section) = &value.kind {
        section.values().all(has_no_values)
    } else {
        false
    }
}

/// Message of a parser without its excerpt of the file, which may hold a secret.
fn without_excerpt(message: &str) -> String {
    let is_excerpt = |line: &&str| {
        line.trim_start_matches(|c: char| c == ' ' || c.is_ascii_digit()).starts_with('|')
    };
    let lines: Vec<_> =
        message.lines().filter(|line| !is_excerpt(line) && !line.trim().is_empty()).collect();
    lines.join(": ")
}

/// Message about a text without quotation marks, the most frequent mistake in TOML; none if a parser's message
/// is about something else.
fn missing_quotes(text: &str, message: &str) -> Option<String> {
    let number = message.split_once(" at line ")?.1.split_once(',')?.0;
    let line = text.lines().nth(number.parse::<usize>().ok()?.checked_sub(1)?)?;
    let (key, value) = line.split_once('=')?;
    let begins_text = |first: char| first.is_alphanumeric() || "+./".contains(first);
    let key = key.trim();
    value
        .trim_start()
        .starts_with(begins_text)
        .then(|| format!("line {number}: put the value of `{key}` in quotes: {key} = \"…\""))
}

/// Key that an error is about, and how to fix it.
fn describe_error(path: &str, message: &str) -> (String, String) {
    let path = if path == "." { "" } else { path };
    let full_key = |name: &str| match path.strip_suffix(name).unwrap_or(path).trim_end_matches('.')
    {
        "" => name.to_owned(),
        parent => format!("{parent}.{name}"),
    };
    // The library repeats the key and its origin, which are shown before this message.
    let message = message.split_once(" for key `").map_or(message, |(text, _)| text);
    let mut quoted = message.split('`').skip(1).step_by(2);
    if message.starts_with("unknown field")
        && let Some(unknown) = quoted.next()
    {
        let key = full_key(unknown);
        if let Some((_, now)) = RENAMED_KEYS.iter().find(|(before, _)| *before == key) {
            return (key, format!("this setting is now `{now}`; rename it"));
        }
        let nearest = quoted.max_by(|one, other| {
            let near = |name: &str| strsim::jaro_winkler(name, unknown);
            near(one).total_cmp(&near(other))
        });
        let remedy = match nearest {
            Some(known) => format!("unknown key; did you mean `{known}`?"),
            None => "unknown key; remove it".to_owned(),
        };
        return (key, remedy);
    }
    if let Some(missing) = message.strip_prefix("missing configuration field ") {
        let name = missing.trim_matches('"').rsplit('.').next().unwrap_or_default();
        return (full_key(name), "this key is required; add it".to_owned());
    }
    (path.to_owned(), message.to_owned())
}
