//! Provenance: each setting with its origin and its text.

use std::collections::BTreeMap;
use std::iter::successors;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use super::locate;
use super::raw::Raw;
use super::written_file::WrittenFile;
use crate::config::error::{ConfigError, Mistakes};

/// Prefix of the environment variables that are settings.
pub(crate) const PREFIX: &str = "STATUSMIRROR";

/// Sections that a reload reads again.
const RELOADED_SECTIONS: [&str; 2] = ["api_keys", "sources"];
/// Keys outside those sections that a reload reads again: the public URL is part of the sources.
const RELOADED_KEYS: [&str; 2] = ["log.level", "server.public_url"];

/// Setting as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Key of the setting, like `server.listen`.
    pub key: String,
    /// Value; of a secret only its location.
    pub value: Value,
    /// File or variable that sets it; `None` if it is the default.
    pub origin: Option<String>,
}

impl Setting {
    /// Value in TOML.
    pub fn toml(&self) -> String {
        toml(&self.value)
    }
}

/// Name of the environment variable that sets a key.
fn variable_name(key: &str) -> String {
    format!("{PREFIX}__{}", key.to_uppercase().replace('.', "__"))
}

/// Warnings about environment variables that name a setting with one underscore where two are needed.
pub(crate) fn misspelt_variables(settings: &[Setting]) -> Vec<String> {
    let with_one_underscore = |name: &str| {
        let parts = name.split('_').filter(|part| !part.is_empty());
        parts.collect::<Vec<_>>().join("_")
    };
    let names = settings.iter().map(|setting| variable_name(&setting.key));
    let known: BTreeMap<_, _> = names.map(|name| (with_one_underscore(&name), name)).collect();
    let variables = std::env::vars_os().filter_map(|(name, _value)| name.into_string().ok());
    let mut warnings: Vec<_> = variables
        .filter_map(|name| {
            let correct =
                known.get(&with_one_underscore(&name)).filter(|correct| **correct != name)?;
            Some(format!("the environment variable {name} has no effect; write {correct}"))
        })
        .collect();
    warnings.sort_unstable();
    warnings
}

/// All values with their origins.
pub(crate) struct Origins<'a> {
    values: config::Value,
    file: Option<&'a Path>,
    /// Line of each key in the file, from 1.
    lines: BTreeMap<String, usize>,
    /// Whether the file has no setting.
    pub(crate) has_no_settings: bool,
}

impl<'a> Origins<'a> {
    pub(crate) fn new(
        values: config::Value,
        file: Option<&'a Path>,
        written: Option<&WrittenFile>,
    ) -> Self {
        let has_no_settings = written.is_some_and(WrittenFile::has_no_settings);
        let lines = written.map(|written| written.lines.clone()).unwrap_or_default();
        Self { values, file, lines, has_no_settings }
    }

    /// Rejects relative paths in a system-wide file.
    pub(crate) fn require_absolute_paths(&self, raw: &Raw, mistakes: &mut Mistakes) {
        let Some(file) = self.file.filter(|file| locate::is_system_wide(file)) else { return };
        let name = file.display().to_string();
        for (key, path) in raw.paths() {
            if path.is_relative() && self.origin(&key).is_some_and(|origin| origin == name) {
                let remedy = format!(
                    "{} is a relative path, which depends on the working directory; write an \
                     absolute path",
                    path.display()
                );
                mistakes.add(ConfigError::at(&key, remedy));
            }
        }
    }

    /// Error with all mistakes, of which there must be at least one: each with its place, in the order of the
    /// file.
    pub(crate) fn locate(&self, mistakes: Mistakes) -> ConfigError {
        let mut located = Mistakes::default();
        for mut mistake in mistakes.in_order_of(|key| self.line(key)) {
            if let ConfigError::Key { origin, key, .. } = &mut mistake {
                *origin = self.fix_location(key);
            }
            located.add(mistake);
        }
        located.into_error()
    }

    /// Place where a key is to be fixed: the variable that sets it, else its line in the file. A section has
    /// the origin of its first key; a missing key has the line of its section.
    fn fix_location(&self, key: &str) -> String {
        let in_file = |file: &Path| match self.line(key) {
            Some(line) => format!("{}: line {line}", file.display()),
            None => file.display().to_string(),
        };
        variable(&self.values, key)
            .or_else(|| self.file.map(in_file))
            .unwrap_or_else(|| "configuration".to_owned())
    }

    /// Line of a key in the file, or of the section that would have it.
    fn line(&self, key: &str) -> Option<usize> {
        let mut sections = successors(Some(key), |key| Some(key.rsplit_once('.')?.0));
        sections.find_map(|key| self.lines.get(key)).copied()
    }

    /// All settings in effect, in the order in which they are documented.
    pub(crate) fn settings(&self, raw: &Raw) -> Vec<Setting> {
        let mut settings = Vec::new();
        // Serializing the settings cannot fail.
        self.add_settings("", &serde_json::to_value(raw).unwrap_or_default(), &mut settings);
        settings
    }

    fn add_settings(&self, key: &str, value: &Value, settings: &mut Vec<Setting>) {
        let full_key =
            |name: &str| if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") };
        match value {
            Value::Null => {}
            Value::Object(section) if !is_reference(section) => {
                for (name, value) in section {
                    self.add_settings(&full_key(name), value, settings);
                }
            }
            Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => settings.push(Setting {
                key: key.to_owned(),
                value: value.clone(),
                origin: self.origin(key),
            }),
        }
    }

    /// Origin of the value of a key; `None` if it is a default.
    fn origin(&self, key: &str) -> Option<String> {
        let mut value = &self.values;
        for part in key.split('.') {
            let config::ValueKind::Table(table) = &value.kind else { return None };
            value = table.get(part)?;
        }
        variable(&self.values, key).or_else(|| {
            while let config::ValueKind::Table(table) = &value.kind {
                value = table.values().next()?;
            }
            value.origin().map(str::to_owned)
        })
    }

    /// Keys that are read only at the start, with their values.
    pub(crate) fn start_only(&self) -> BTreeMap<String, String> {
        let mut start_only = BTreeMap::new();
        if let config::ValueKind::Table(sections) = &self.values.kind {
            for (name, section) in sections {
                if !RELOADED_SECTIONS.contains(&name.as_str()) {
                    flatten(name, section, &mut start_only);
                }
            }
        }
        start_only.retain(|key, _| !RELOADED_KEYS.contains(&key.as_str()));
        start_only
    }
}

/// Whether a section refers to a secret that is stored elsewhere.
fn is_reference(section: &serde_json::Map<String, Value>) -> bool {
    section.len() == 1
        && ["env", "file"].iter().any(|name| section.get(*name).is_some_and(Value::is_string))
}

/// Formats a value as TOML.
fn toml(value: &Value) -> String {
    match value {
        Value::Array(values) => {
            format!("[{}]", values.iter().map(toml).collect::<Vec<_>>().join(", "))
        }
        Value::Object(reference) => {
            let members = reference.iter().map(|(name, value)| format!("{name} = {}", toml(value)));
            format!("{{ {} }}", members.collect::<Vec<_>>().join(", "))
        }
        // JSON's texts and numbers are also valid TOML.
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

fn flatten(key: &str, value: &config::Value, flat: &mut BTreeMap<String, String>) {
    if let config::ValueKind::Table(table) = &value.kind {
        for (name, inner) in table {
            flatten(&format!("{key}.{name}"), inner, flat);
        }
    } else {
        flat.insert(key.to_owned(), value.to_string());
    }
}

/// Environment variable that sets a key, if one does.
fn variable(values: &config::Value, key: &str) -> Option<String> {
    let mut value = values;
    for part in key.split('.') {
        let config::ValueKind::Table(table) = &value.kind else { break };
        let Some(inner) = table.get(part) else { break };
        value = inner;
    }
    while let config::ValueKind::Table(table) = &value.kind {
        value = table.values().next()?;
    }
    (value.origin()? == "the environment").then(|| variable_name(key))
}
