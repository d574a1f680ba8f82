//! Secrets: the location of each, its reading, and warnings about probable mistakes in its text.
//!
//! An empty secret is an error: a sender without any secret would know it. Everything else is used as it is,
//! because a secret may hold any character. Only a byte order mark at the start of a file and line ends at
//! its end are removed, which editors add and no sender has.

use std::env::VarError;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::error::ConfigError;
use crate::config::layers::regular_file;

/// Length below which a secret can be guessed, in bytes.
pub(crate) const MIN_SECRET_BYTES: usize = 16;

/// Maximum size of a secret file, in bytes.
const MAX_FILE_BYTES: u64 = 64 << 10;
/// Byte order mark, with which a file begins that an editor saved as "UTF-8 with BOM".
const BYTE_ORDER_MARK: char = '\u{feff}';
/// Quotation marks, which as a rule belong to the syntax of some other file.
const QUOTATION_MARKS: &str = "\"'`\u{2018}\u{2019}\u{201a}\u{201c}\u{201d}\u{201e}\u{ab}\u{bb}";

/// Location of a secret.
#[derive(Clone, Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "write a text, { env = \"NAME\" } or { file = \"PATH\" }"
)]
pub(crate) enum Secret {
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

/// Printed form of a secret: its location, never its text.
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
    /// Reads the text of the secret. `key` is the key it is configured under. Adds a warning if the text
    /// looks like a mistake.
    pub(crate) fn resolve(
        self,
        key: &str,
        warnings: &mut Vec<String>,
    ) -> Result<String, ConfigError> {
        let text = match self {
            Self::Text(text) => text,
            #[expect(clippy::disallowed_methods, reason = "config is what reads the environment")]
            Self::Env { env } => std::env::var(&env).map_err(|error| {
                let remedy = match error {
                    VarError::NotPresent => {
                        format!("the environment variable {env} is not set; set it to the secret")
                    }
                    VarError::NotUnicode(_) => {
                        format!("the environment variable {env} is not UTF-8; set it to the secret")
                    }
                };
                ConfigError::at(key, remedy)
            })?,
            Self::File { file } => read(&file, key)?,
        };
        let text = text.trim_end_matches(['\n', '\r']);
        if is_blank(text) {
            let remedy = "the secret is empty, or has only blanks, quotation marks and invisible \
                          characters; give a secret"
                .to_owned();
            return Err(ConfigError::at(key, remedy));
        }
        if let Some(oddity) = unusual_character(text) {
            warnings.push(format!("{key}: {oddity}"));
        }
        Ok(text.to_owned())
    }
}

/// Reads the text of a secret file, without a leading byte order mark.
fn read(file: &Path, key: &str) -> Result<String, ConfigError> {
    let path = regular_file::absolute(file);
    let text = regular_file::read(&path, MAX_FILE_BYTES).map_err(|error| {
        ConfigError::at(key, format!("cannot read {}: {error}", path.display()))
    })?;
    Ok(text.strip_prefix(BYTE_ORDER_MARK).map_or_else(|| text.clone(), str::to_owned))
}

/// Whether a text holds nothing but blanks, quotation marks and invisible characters.
fn is_blank(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || is_invisible(c) || QUOTATION_MARKS.contains(c))
}

/// Whether this is the hash of a text that [`is_blank`]: the output of `sha256sum` for an unset variable,
/// with or without a line end or quotation marks.
pub(crate) fn is_hash_of_blank(sha256: &[u8; 32]) -> bool {
    const BLANK_TEXTS: [&str; 11] =
        ["", " ", "\t", "\n", "\r", "\0", "\"", "'", "\u{a0}", "\u{200b}", "\u{feff}"];
    let texts = BLANK_TEXTS.iter().flat_map(|one| BLANK_TEXTS.map(|other| [*one, other]));
    texts.flat_map(|[one, other]| ["", "\n"].map(|end| [one, other, end].concat())).any(|text| {
        let hash: [u8; 32] = Sha256::digest(text).into();
        hash == *sha256
    })
}

/// Kind of character that is probably a mistake, and the test for it.
type Kind = (&'static str, fn(char) -> bool);

/// Description of probable mistakes in the text of a secret, without the text.
fn unusual_character(text: &str) -> Option<String> {
    let kinds: [Kind; 4] = [
        ("a blank", char::is_whitespace),
        ("a quotation mark", |c| QUOTATION_MARKS.contains(c)),
        ("an invisible character", |c| is_invisible(c) && !c.is_whitespace()),
        ("a comma", |c| c == ','),
    ];
    let found: Vec<_> = kinds
        .iter()
        .filter_map(|(kind, is_one)| {
            let c = text.chars().find(|c| is_one(*c))?;
            let place = if text.starts_with(is_one) {
                "begins with"
            } else if text.ends_with(is_one) {
                "ends with"
            } else {
                "contains"
            };
            Some(format!("{place} {kind} (U+{:04X})", u32::from(c)))
        })
        .collect();
    if found.is_empty() {
        return None;
    }
    let list = if text.contains(',') { "; write several secrets as a list" } else { "" };
    Some(format!(
        "the secret {}, and is used unchanged; remove every character that does not belong to the \
         secret{list}",
        found.join(" and ")
    ))
}

/// Whether a character is invisible: controls, and Unicode's default-ignorable characters.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}
