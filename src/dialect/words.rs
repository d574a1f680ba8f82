//! Words that every dialect reads alike.

use serde::Deserialize;
use serde_json::Deserializer;

use super::Aside;
use crate::message::{Channel, NotATime, Timestamp};

/// Channels that messages travel on which this mirror is not about.
const OTHER_CHANNELS: [&str; 12] = [
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

/// The longest part of an unknown word that is repeated in a reason.
const SHOWN: usize = 64;
/// The longest part of an error that is repeated in a reason.
const SHOWN_OF_ERRORS: usize = 200;

/// Reads a channel, in capitals: an MMS counts as an SMS, a channel that is neither SMS nor RCS is not ours.
pub(super) fn channel(word: &str) -> Result<Channel, Aside> {
    match word {
        "SMS" | "MMS" => Ok(Channel::Sms),
        "RCS" => Ok(Channel::Rcs),
        other if OTHER_CHANNELS.contains(&other) => {
            Err(Aside::Ignored(format!("the channel {other} is neither SMS nor RCS")))
        }
        _ => Err(unknown("channel", word)),
    }
}

/// An entry with a word that is not known.
pub(super) fn unknown(member: &str, word: &str) -> Aside {
    let shown: String = word.chars().filter(|letter| !letter.is_control()).take(SHOWN).collect();
    Aside::Unreadable(format!("{member}: unknown word `{shown}`"))
}

/// JSON that is no `T`: which member it is about, and what is wrong with it. The words are a
/// library's, and may repeat a whole body.
pub(super) fn misshapen<'de, T: Deserialize<'de>>(json: &'de str) -> Aside {
    let read = serde_path_to_error::deserialize::<_, T>(&mut Deserializer::from_str(json));
    let words = match read {
        Ok(_) => "it is not as it must be".to_owned(),
        Err(error) => error.to_string(),
    };
    Aside::Unreadable(words.chars().take(SHOWN_OF_ERRORS).collect())
}

/// An entry that lacks a member.
pub(super) fn missing(member: &str) -> Aside {
    Aside::Unreadable(format!("{member} is missing"))
}

/// A time that need not be stated: one without a zone is none.
pub(super) fn optional_time(member: &str, text: &str) -> Result<Option<Timestamp>, Aside> {
    match text.parse() {
        Ok(time) => Ok(Some(time)),
        Err(NotATime::NoZone) => Ok(None),
        Err(error @ NotATime::NotATime) => Err(Aside::Unreadable(format!("{member} is {error}"))),
    }
}
