//! Parsing helpers shared by all dialects.

use serde::Deserialize;
use serde_json::Deserializer;

use super::contract::NoStatement;
use crate::message::{Channel, NotATime, Timestamp};

/// Channels that this mirror does not cover.
const UNSUPPORTED_CHANNELS: [&str; 12] = [
    "WHATSAPP",
    "VIBER",
    "MESSENGER",
    "INSTAGRAM",
    "TELEGRAM",
    "LINE",
    "KAKAO",
    "WECHAT",
    "ZALO",
    "EMAIL",
    "VOICE",
    "PUSH",
];

/// Maximum length of an unknown word quoted in a reason, in characters.
const MAX_QUOTED_WORD_CHARACTERS: usize = 64;
/// Maximum length of an error quoted in a reason, in characters.
const MAX_QUOTED_ERROR_CHARACTERS: usize = 200;

/// Parses a channel, in capitals: an MMS counts as an SMS; a channel that is neither SMS nor RCS is ignored.
pub(crate) fn channel(word: &str) -> Result<Channel, NoStatement> {
    match word {
        "SMS" | "MMS" => Ok(Channel::Sms),
        "RCS" => Ok(Channel::Rcs),
        other if UNSUPPORTED_CHANNELS.contains(&other) => {
            Err(NoStatement::Ignored(format!("the channel {other} is neither SMS nor RCS")))
        }
        _ => Err(unknown("channel", word)),
    }
}

/// Result for an entry with an unknown word.
pub(crate) fn unknown(member: &str, word: &str) -> NoStatement {
    let shown: String = word
        .chars()
        .filter(|letter| !letter.is_control())
        .take(MAX_QUOTED_WORD_CHARACTERS)
        .collect();
    NoStatement::Unreadable(format!("{member}: unknown word `{shown}`"))
}

/// Result for JSON that does not deserialize to `T`: names the member and the problem. Shortened, because the
/// words are a library's and may repeat a whole body.
pub(crate) fn shape_error<'de, T: Deserialize<'de>>(json: &'de str) -> NoStatement {
    let read = serde_path_to_error::deserialize::<_, T>(&mut Deserializer::from_str(json));
    let error_text = match read {
        Ok(_) => "the JSON has an unexpected structure".to_owned(),
        Err(error) => error.to_string(),
    };
    NoStatement::Unreadable(error_text.chars().take(MAX_QUOTED_ERROR_CHARACTERS).collect())
}

/// Result for an entry that lacks a member.
pub(crate) fn missing(member: &str) -> NoStatement {
    NoStatement::Unreadable(format!("{member} is missing"))
}

/// Parses an optional time; a time without a zone counts as not stated.
pub(crate) fn optional_time(member: &str, text: &str) -> Result<Option<Timestamp>, NoStatement> {
    match text.parse() {
        Ok(time) => Ok(Some(time)),
        Err(NotATime::NoZone) => Ok(None),
        Err(error @ NotATime::NotATime) => {
            Err(NoStatement::Unreadable(format!("{member} is {error}")))
        }
    }
}
