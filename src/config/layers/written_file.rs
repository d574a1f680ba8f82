//! Configuration file: its values, and the line of each key.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use config::{FileFormat, Format, Map, Source, Value, ValueKind};
use toml::de::{DeTable, DeValue};

use super::regular_file;
use crate::config::error::{ConfigError, Mistakes};

/// Maximum size of a configuration file, in bytes.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// Configuration file, read once.
#[derive(Debug, Clone)]
pub(crate) struct WrittenFile {
    values: Map<String, Value>,
    /// Line of each key, from 1.
    pub(crate) lines: BTreeMap<String, usize>,
}

impl WrittenFile {
    /// Reads the file. An error names every line that is not TOML.
    pub(crate) fn read(path: &Path) -> Result<Self, ConfigError> {
        let wrong = |error: String| ConfigError::File { path: path.to_owned(), error };
        let text = regular_file::read(path, MAX_FILE_BYTES).map_err(|error| {
            if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidData) {
                return wrong(error.to_string());
            }
            ConfigError::Unreadable { path: path.to_owned(), error: error.to_string() }
        })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let (document, errors) = DeTable::parse_recoverable(text);
        let place = |error: &toml::de::Error| error.span().map_or(0, |span| span.start);
        let mut errors: Vec<_> =
            errors.iter().map(|error| (line_at(text, place(error)), error.message())).collect();
        errors.sort_by_key(|(line, _)| *line);
        // After a mistake the parser guesses how the line goes on, so that it reports more of the same line.
        errors.dedup_by_key(|(line, _)| *line);
        let mut mistakes = Mistakes::default();
        for (line, message) in errors {
            mistakes.add(wrong(describe_syntax_error(text, line, message)));
        }
        if !mistakes.is_empty() {
            return Err(mistakes.into_error());
        }
        let mut lines = BTreeMap::new();
        add_lines("", document.get_ref(), text, &mut lines);
        let values = FileFormat::Toml
            .parse(Some(&path.display().to_string()), text)
            .map_err(|error| wrong(error.to_string()))?;
        Ok(Self { values, lines })
    }

    /// Whether the file has no value.
    pub(crate) fn has_no_settings(&self) -> bool {
        self.values.values().all(has_no_values)
    }
}

impl Source for WrittenFile {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.values.clone())
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

/// Number of the line with the byte at this offset, from 1.
fn line_at(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

fn add_lines(section: &str, table: &DeTable<'_>, text: &str, lines: &mut BTreeMap<String, usize>) {
    for (key, value) in table {
        let name = key.get_ref();
        let full_key =
            if section.is_empty() { name.to_string() } else { format!("{section}.{name}") };
        if let DeValue::Table(inner) = value.get_ref() {
            add_lines(&full_key, inner, text, lines);
        }
        lines.insert(full_key, line_at(text, key.span().start));
    }
}

/// Message about a line that is not TOML. It has no excerpt of the line, which may hold a secret.
fn describe_syntax_error(text: &str, line: usize, message: &str) -> String {
    let written = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let problem = missing_value(written).unwrap_or_else(|| message.replace('\n', ": "));
    format!("line {line}: {problem}")
}

/// Message about a key without a value, or about a text without quotation marks, the most frequent mistake in
/// TOML; `None` if the line has another one.
fn missing_value(line: &str) -> Option<String> {
    let (key, value) = line.split_once('=')?;
    let (key, value) = (key.trim(), value.trim_start());
    if value.is_empty() || value.starts_with('#') {
        return Some(format!("`{key}` has no value; write one after the equals sign"));
    }
    let begins_text = |first: char| first.is_alphanumeric() || "+./".contains(first);
    value
        .starts_with(begins_text)
        .then(|| format!("put the value of `{key}` in quotes: {key} = \"…\""))
}
