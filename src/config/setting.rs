//! Settings one by one: where each comes from, and how it is written.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::raw::Raw;
use super::{ConfigError, locate};

/// What the names of environment variables that are settings begin with.
pub(super) const PREFIX: &str = "STATUSMIRROR";

/// The sections that are read again while the service runs.
const READ_AGAIN: [&str; 2] = ["api_keys", "sources"];
/// This key is too: it is part of what sources are made of.
const READ_AGAIN_KEY: &str = "server.public_url";

/// A setting, as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its key, like `server.listen`.
    pub key: String,
    /// Its value in TOML; of a secret only where it is.
    pub value: String,
    /// The file or the variable that it comes from; none if it is the default.
    pub origin: Option<String>,
}

/// All values, which know where they come from.
pub(super) struct Origins<'a> {
    values: config::Value,
    file: Option<&'a Path>,
    /// Whether the file has no setting.
    pub(super) sets_nothing: bool,
}

impl<'a> Origins<'a> {
    pub(super) fn new(values: config::Value, file: Option<&'a Path>, sets_nothing: bool) -> Self {
        Self { values, file, sets_nothing }
    }

    /// Rejects a relative path in a file of the whole machine.
    pub(super) fn require_whole_paths(&self, raw: &Raw) -> Result<(), ConfigError> {
        let Some(file) = self.file.filter(|file| locate::is_of_system(file)) else {
            return Ok(());
        };
        let name = file.display().to_string();
        for (key, path) in raw.paths() {
            if path.is_relative() && self.origin(&key).is_some_and(|origin| origin == name) {
                let mend = format!(
                    "{} is a relative path, which means another file in each working directory; \
                     write the whole path",
                    path.display()
                );
                return Err(ConfigError::Key { origin: name, key, mend });
            }
        }
        Ok(())
    }

    /// Where a key is to be mended: the variable that it comes from, else the file. A section comes
    /// from where the first of its keys does; a key that is missing, from where its section does.
    pub(super) fn of(&self, key: &str) -> String {
        variable(&self.values, key)
            .or_else(|| self.file.map(|file| file.display().to_string()))
            .unwrap_or_else(|| "configuration".to_owned())
    }

    /// Every setting that holds, in the order in which it is documented.
    pub(super) fn settings(&self, raw: &Raw) -> Vec<Setting> {
        let mut settings = Vec::new();
        // Nothing of it can fail to be written.
        self.add_settings("", &serde_json::to_value(raw).unwrap_or_default(), &mut settings);
        settings
    }

    fn add_settings(&self, key: &str, value: &Value, settings: &mut Vec<Setting>) {
        let inside =
            |name: &str| if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") };
        match value {
            Value::Null => {}
            Value::Object(section) if !is_reference(section) => {
                for (name, value) in section {
                    self.add_settings(&inside(name), value, settings);
                }
            }
            Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => settings.push(Setting {
                key: key.to_owned(),
                value: toml(value),
                origin: self.origin(key),
            }),
        }
    }

    /// Where the value of a key comes from; none if it is a default.
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

    /// Every key that is read only at the start, with its value.
    pub(super) fn fixed(&self) -> BTreeMap<String, String> {
        let mut fixed = BTreeMap::new();
        if let config::ValueKind::Table(sections) = &self.values.kind {
            for (name, section) in sections {
                if !READ_AGAIN.contains(&name.as_str()) {
                    flatten(name, section, &mut fixed);
                }
            }
        }
        fixed.remove(READ_AGAIN_KEY);
        fixed
    }
}

/// Whether this is a secret that is somewhere else.
fn is_reference(section: &serde_json::Map<String, Value>) -> bool {
    section.len() == 1
        && ["env", "file"].iter().any(|name| section.get(*name).is_some_and(Value::is_string))
}

/// As it is written in a file.
fn toml(value: &Value) -> String {
    match value {
        Value::Array(values) => {
            format!("[{}]", values.iter().map(toml).collect::<Vec<_>>().join(", "))
        }
        Value::Object(reference) => {
            let members = reference.iter().map(|(name, value)| format!("{name} = {}", toml(value)));
            format!("{{ {} }}", members.collect::<Vec<_>>().join(", "))
        }
        // JSON's texts and numbers are TOML's too.
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

/// The variable that the value of a key comes from, if it comes from one.
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
    (value.origin()? == "the environment")
        .then(|| format!("{PREFIX}__{}", key.to_uppercase().replace('.', "__")))
}
