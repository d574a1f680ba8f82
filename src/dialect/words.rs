//! Words that every dialect reads alike.

use std::fmt::Display;

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

/// Reads a channel: an MMS counts as an SMS, a channel that is neither SMS nor RCS is not ours.
pub(super) fn channel(word: &str) -> Result<Channel, Aside> {
    let upper = word.to_ascii_uppercase();
    match upper.as_str() {
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

/// An entry that is not what the dialect's documents say, in a library's words, which may repeat a
/// whole body.
pub(super) fn misshapen(error: &impl Display) -> Aside {
    Aside::Unreadable(error.to_string().chars().take(SHOWN_OF_ERRORS).collect())
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
