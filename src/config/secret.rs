//! Secrets: where each one is, how it is read, and what in its text is probably a mistake.
//!
//! An empty secret is an error: whoever sends nothing would know it. Everything else is used as it is,
//! because a secret may hold any character. Only the byte order mark before and the line ends behind
//! the text of a file are removed, which editors add and no sender has.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::{ConfigError, regular};

/// A longer file is something else.
const LONGEST: u64 = 64 << 10;
/// What begins a file that an editor saved as "UTF-8 with BOM".
const BYTE_ORDER_MARK: char = '\u{feff}';
/// Quotation marks, which belong to the syntax of some other file as a rule.
const QUOTES: &str = "\"'`\u{2018}\u{2019}\u{201a}\u{201c}\u{201d}\u{201e}\u{ab}\u{bb}";

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
    /// The secret's text. `key` is the key it is configured under. Adds a warning if the text looks
    /// like a mistake.
    pub(super) fn resolve(
        self,
        key: &str,
        warnings: &mut Vec<String>,
    ) -> Result<String, ConfigError> {
        let text = match self {
            Self::Text(text) => text,
            #[expect(clippy::disallowed_methods, reason = "config is what reads the environment")]
            Self::Env { env } => std::env::var(&env).map_err(|error| {
                ConfigError::at(key, format!("the environment variable {env} is needed: {error}"))
            })?,
            Self::File { file } => read(&file, key)?,
        };
        let text = text.trim_end_matches(['\n', '\r']);
        if is_nothing(text) {
            let mend = "the secret is empty, or has only blanks, quotation marks and invisible \
                        characters; give one"
                .to_owned();
            return Err(ConfigError::at(key, mend));
        }
        if let Some(oddity) = oddity(text) {
            warnings.push(format!("{key}: {oddity}"));
        }
        Ok(text.to_owned())
    }
}

/// The text of a secret's file, without a byte order mark before it.
fn read(file: &Path, key: &str) -> Result<String, ConfigError> {
    let path = super::whole(file);
    let text = regular::read(&path, LONGEST).map_err(|error| {
        ConfigError::at(key, format!("cannot read {}: {error}", path.display()))
    })?;
    Ok(text.strip_prefix(BYTE_ORDER_MARK).map_or_else(|| text.clone(), str::to_owned))
}

/// Whether a text holds no character that somebody would have to know.
fn is_nothing(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || is_invisible(c) || QUOTES.contains(c))
}

/// Whether this is the hash of a text that [`is_nothing`]: what `sha256sum` prints for an unset
/// variable, with or without a line end or quotation marks.
pub(super) fn is_hash_of_nothing(sha256: &[u8; 32]) -> bool {
    const NOTHING: [&str; 11] =
        ["", " ", "\t", "\n", "\r", "\0", "\"", "'", "\u{a0}", "\u{200b}", "\u{feff}"];
    let texts = NOTHING.iter().flat_map(|one| NOTHING.map(|other| [*one, other]));
    texts.flat_map(|[one, other]| ["", "\n"].map(|end| [one, other, end].concat())).any(|text| {
        let hash: [u8; 32] = Sha256::digest(text).into();
        hash == *sha256
    })
}

/// A kind of character that is probably a mistake, and which characters are of it.
type Kind = (&'static str, fn(char) -> bool);

/// What in the text of a secret is probably a mistake, without the text.
fn oddity(text: &str) -> Option<String> {
    let kinds: [Kind; 4] = [
        ("a blank", char::is_whitespace),
        ("a quotation mark", |c| QUOTES.contains(c)),
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
    let list = if text.contains(',') { "; several secrets are written as a list" } else { "" };
    Some(format!(
        "the secret {}; it is used as it is, so remove what does not belong to it{list}",
        found.join(" and ")
    ))
}

/// Whether nothing is seen of a character: controls, and what Unicode calls default-ignorable.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}
