//! Layers of the configuration, read and merged: defaults, file, environment.

use std::collections::BTreeSet;
use std::iter::successors;
use std::path::Path;

use config::{Environment, File, FileFormat, Value, ValueKind};

use super::provenance::{Origins, PREFIX};
use super::raw::Raw;
use super::written_file::WrittenFile;
use crate::config::error::{ConfigError, Mistakes};

/// First layer: every key with its default.
pub(crate) const DEFAULTS_TOML: &str = include_str!("../../../config/statusmirror.toml");

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

/// Merged layers.
pub(crate) struct Layers<'a> {
    /// Settings as they are written. A key with a mistake has its default, or is absent.
    raw: Raw,
    /// Origin of each key.
    origins: Origins<'a>,
    /// Keys that are unknown or missing, and values of the wrong type.
    mistakes: Mistakes,
}

impl<'a> Layers<'a> {
    /// Reads all layers: the defaults, the file if one is given, the environment.
    pub(crate) fn read(file: Option<&'a Path>) -> Result<Self, ConfigError> {
        let defaults = File::from_str(DEFAULTS_TOML, FileFormat::Toml);
        let invalid = |error: config::ConfigError| ConfigError::at("", error.to_string());
        let written = file.map(WrittenFile::read).transpose()?;
        let environment = Environment::with_prefix(PREFIX).prefix_separator("__").separator("__");
        let mut layers = config::Config::builder().add_source(defaults.clone());
        if let Some(written) = written.clone() {
            layers = layers.add_source(written);
        }
        let merged = layers.add_source(environment).build().map_err(invalid)?.cache;
        let defaults = config::Config::builder().add_source(defaults).build().map_err(invalid)?;
        let origins = Origins::new(merged.clone(), file, written.as_ref());
        let mut mistakes = Mistakes::default();
        let raw = deserialize(merged, &defaults.cache, &mut mistakes)?;
        origins.require_absolute_paths(&raw, &mut mistakes);
        Ok(Self { raw, origins, mistakes })
    }

    /// Settings as they are written, with their origins and mistakes.
    pub(crate) fn into_parts(self) -> (Raw, Origins<'a>, Mistakes) {
        (self.raw, self.origins, self.mistakes)
    }

    /// Settings as they are written; fails if there is a mistake.
    pub(crate) fn into_raw(self) -> Result<Raw, ConfigError> {
        if self.mistakes.is_empty() {
            Ok(self.raw)
        } else {
            Err(self.origins.locate(self.mistakes))
        }
    }
}

/// Deserializes merged values. Each mistake is added to `mistakes` and taken out of the values, so that all are
/// found. Fails with a mistake that cannot be taken out.
fn deserialize(
    mut values: Value,
    defaults: &Value,
    mistakes: &mut Mistakes,
) -> Result<Raw, ConfigError> {
    // Keys that are missing only because of a reported mistake.
    let mut reported_keys = BTreeSet::new();
    loop {
        let error = match serde_path_to_error::deserialize(values.clone()) {
            Ok(raw) => return Ok(raw),
            Err(error) => error,
        };
        let path = error.path().to_string();
        let WrongKey { key, remedy, meant_key } =
            WrongKey::new(&path, &error.into_inner().to_string(), defaults);
        let mistake = ConfigError::at(&key, remedy);
        // If the key is missing, its section is taken out.
        let mut sections = successors(Some(key.as_str()), |key| Some(key.rsplit_once('.')?.0));
        let Some(removed_key) = sections.find(|section| reset(&mut values, defaults, section))
        else {
            return Err(mistake);
        };
        let is_reported = reported_keys.contains(&key);
        reported_keys.insert(removed_key.to_owned());
        reported_keys.extend(meant_key);
        if !is_reported {
            mistakes.add(mistake);
        }
    }
}

/// Sets a key to its default, or removes it if it has none. Returns whether this changed anything.
fn reset(values: &mut Value, defaults: &Value, key: &str) -> bool {
    let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
    let parts = || section.split('.').filter(|part| !part.is_empty());
    let default = parts().chain([name]).try_fold(defaults, |value, part| {
        if let ValueKind::Table(table) = &value.kind { table.get(part) } else { None }
    });
    let section = parts().try_fold(values, |value, part| {
        if let ValueKind::Table(table) = &mut value.kind { table.get_mut(part) } else { None }
    });
    let Some(Value { kind: ValueKind::Table(section), .. }) = section else { return false };
    match default {
        Some(default) => section.insert(name.to_owned(), default.clone()).as_ref() != Some(default),
        None => section.remove(name).is_some(),
    }
}

/// Key that an error of the deserialization is about.
struct WrongKey {
    key: String,
    /// Problem, and how to fix it.
    remedy: String,
    /// Key that was probably meant, if the key is unknown.
    meant_key: Option<String>,
}

impl WrongKey {
    fn new(path: &str, message: &str, defaults: &Value) -> Self {
        let path = if path == "." { "" } else { path };
        let full_key =
            |name: &str| match path.strip_suffix(name).unwrap_or(path).trim_end_matches('.') {
                "" => name.to_owned(),
                parent => format!("{parent}.{name}"),
            };
        // The library repeats the key and its origin, which are shown before this message.
        let message = message.split_once(" for key `").map_or(message, |(text, _)| text);
        let mut quoted = message.split('`').skip(1).step_by(2);
        if message.starts_with("unknown field")
            && let Some(unknown) = quoted.next()
        {
            return Self::unknown(full_key(unknown), unknown, quoted, defaults);
        }
        let (key, remedy) =
            if let Some(missing) = message.strip_prefix("missing configuration field ") {
                let name = missing.trim_matches('"').rsplit('.').next().unwrap_or_default();
                (full_key(name), "this key is required; add it".to_owned())
            } else {
                let remedy = describe_wrong_type(message).unwrap_or_else(|| message.to_owned());
                (path.to_owned(), remedy)
            };
        Self { key, remedy, meant_key: None }
    }

    /// Unknown key, where these keys are known.
    fn unknown<'a>(
        key: String,
        name: &str,
        known_names: impl Iterator<Item = &'a str>,
        defaults: &Value,
    ) -> Self {
        if let Some((_, new)) = RENAMED_KEYS.iter().find(|(old, _)| *old == key) {
            let remedy = format!("this setting is now `{new}`; rename it");
            return Self { key, remedy, meant_key: None };
        }
        if let Some(section) = section_of(&key, defaults) {
            let remedy = format!("unknown key; did you mean `{section}.{name}`?");
            return Self { key, remedy, meant_key: None };
        }
        let nearest = known_names.max_by(|one, other| {
            let near = |known: &str| strsim::jaro_winkler(known, name);
            near(one).total_cmp(&near(other))
        });
        let remedy = match nearest {
            Some(known) => format!("unknown key; did you mean `{known}`?"),
            None => "unknown key; remove it".to_owned(),
        };
        let section = key.strip_suffix(name).unwrap_or_default();
        let meant_key = nearest.map(|known| format!("{section}{known}"));
        Self { key, remedy, meant_key }
    }
}

/// Section that has a setting of this name; `None` if the key is in a section already.
fn section_of(key: &str, defaults: &Value) -> Option<String> {
    let ValueKind::Table(sections) = &defaults.kind else { return None };
    let has_setting = |section: &Value| {
        if let ValueKind::Table(settings) = &section.kind {
            settings.contains_key(key)
        } else {
            false
        }
    };
    sections.iter().find(|(_, section)| has_setting(section)).map(|(name, _)| name.clone())
}

/// Message about a value of the wrong type, without the value, which may be a secret; `None` if the message is
/// about something else.
fn describe_wrong_type(message: &str) -> Option<String> {
    let (found, expected) = message.strip_prefix("invalid type: ")?.rsplit_once(", expected ")?;
    let kind = match found.split([' ', '`']).next().unwrap_or_default() {
        "string" => "a text",
        "boolean" => "true or false",
        "map" => "a section",
        "sequence" => "a list",
        "unit" => "nothing",
        _ => "a number",
    };
    Some(format!("expected {expected}, found {kind}"))
}
