//! Identifiers of a message, a destination and a notification. Text becomes one only by parsing.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};
use thiserror::Error;
use uuid::Uuid;

/// UUID of one sent message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(Uuid);

/// Error: the text is not a hyphenated UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a UUID in its hyphenated form, like b31b6607-9c55-48ba-b145-3f40b809d2d2")]
pub struct NotAMessageId;

impl MessageId {
    /// Message id for a provider that uses ids of another form: the `UUIDv5` of the provider's id in the
    /// namespace of the source, so that it can be computed in every language. Where several recipients share
    /// the provider's id, the destination is part of the hashed name.
    pub fn from_foreign_id(source: &str, id: &str, recipient: Option<Destination>) -> Self {
        let namespace =
            Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("statusmirror:{source}").as_bytes());
        let name = match recipient {
            Some(destination) => format!("{id}/{destination}"),
            None => id.to_owned(),
        };
        Self(Uuid::new_v5(&namespace, name.as_bytes()))
    }

    /// Message id from its 16 bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The id's 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Writes the hyphenated form into the buffer and returns it.
    pub fn write(self, buffer: &mut [u8; 36]) -> &str {
        self.0.as_hyphenated().encode_lower(buffer)
    }
}

impl FromStr for MessageId {
    type Err = NotAMessageId;

    fn from_str(text: &str) -> Result<Self, NotAMessageId> {
        // `Uuid` also accepts the braced, URN and bare forms, which the gateway does not use.
        if text.len() != 36 {
            return Err(NotAMessageId);
        }
        Uuid::try_parse(text).map(Self).map_err(|_not_a_uuid| NotAMessageId)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Destination: the recipient's phone number in E.164: `+`, then 7 to 15 digits, the first of which is not
/// zero.
///
/// Kept as an integer, which loses nothing because the first digit is never zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination(u64);

/// Error: the text is not a phone number in E.164.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a phone number in E.164, like +393331234567")]
pub struct NotADestination;

impl Destination {
    /// Reads a phone number as providers and people write it. Blanks, dashes, dots, parentheses and invisible
    /// characters are removed, and so is a prefix like `rcs:`. `00` stands for the `+`, and bare digits get a
    /// `+`. Returns `None` if the result is not E.164, as for a short code.
    pub fn parse_lenient(text: &str) -> Option<Self> {
        // Fast path for the usual form.
        if let Ok(number) = text.parse() {
            return Some(number);
        }
        let mut written = text.chars().filter(|letter| !is_decoration(*letter));
        let bare: String = written.by_ref().take(MAX_WRITTEN_CHARACTERS).collect();
        if written.next().is_some() {
            return None;
        }
        let number = match bare.split_once(':') {
            Some((prefix, rest)) if prefix.bytes().all(|b| b.is_ascii_alphabetic()) => rest,
            Some(_) | None => &bare,
        };
        let digits = number.strip_prefix('+').or_else(|| number.strip_prefix("00"));
        Self::from_digits(digits.unwrap_or(number)).ok()
    }

    /// Letters in front of a phone number, such as `rcs` in `rcs:+393331234567`, which
    /// [`Self::parse_lenient`] removes.
    pub fn prefix(text: &str) -> Option<String> {
        let (before, _) = text.split_once(':')?;
        let prefix: String = before.chars().filter(|letter| !is_decoration(*letter)).collect();
        let is_word = !prefix.is_empty() && prefix.bytes().all(|b| b.is_ascii_alphabetic());
        is_word.then_some(prefix)
    }

    /// Reads the digits that follow the `+`.
    pub fn from_digits(digits: &str) -> Result<Self, NotADestination> {
        let shaped = (7..=15).contains(&digits.len())
            && digits.bytes().all(|b| b.is_ascii_digit())
            && !digits.starts_with('0');
        if !shaped {
            return Err(NotADestination);
        }
        digits.parse().map(Self).map_err(|_not_digits| NotADestination)
    }

    /// The digits as an integer.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// Longest phone number with its prefix, in characters, not counting the removed ones.
const MAX_WRITTEN_CHARACTERS: usize = 64;

/// Whether a character only makes a phone number easier to read, or is invisible.
fn is_decoration(letter: char) -> bool {
    let is_dash = matches!(
        letter,
        '-' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' | '\u{ff0d}'
    );
    let is_invisible = matches!(
        letter,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
    );
    letter.is_whitespace()
        || letter.is_control()
        || is_dash
        || is_invisible
        || matches!(letter, '.' | '(' | ')' | '\u{ff0e}' | '\u{ff08}' | '\u{ff09}')
}

impl FromStr for Destination {
    type Err = NotADestination;

    fn from_str(text: &str) -> Result<Self, NotADestination> {
        Self::from_digits(text.strip_prefix('+').ok_or(NotADestination)?)
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{}", self.0)
    }
}

/// `Debug` without the digits: a phone number must not appear in a log.
impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Destination(+…)")
    }
}

/// Identity of a notification: a hash of everything stated that the record reads. Two notifications with the
/// same identity are the same notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity([u8; 16]);

impl Identity {
    /// Identity from its 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The identity's 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Hashes the stated values, member by member; `None` is a member that was not stated.
    ///
    /// The length of each member is hashed too, so that no two lists of members hash alike. Half of SHA-256
    /// is enough: identities are only compared within one message.
    pub(crate) fn of(members: &[Option<&[u8]>]) -> Self {
        let mut hash = Sha256::new();
        for member in members {
            match member {
                None => hash.update([0]),
                Some(bytes) => {
                    hash.update([1]);
                    hash.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
                    hash.update(bytes);
                }
            }
        }
        let digest: [u8; 32] = hash.finalize().into();
        let mut half = [0; 16];
        for (to, from) in half.iter_mut().zip(digest) {
            *to = from;
        }
        Self(half)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_id_gives_the_documented_uuid() {
        let bare = MessageId::from_foreign_id("twilio", "SM1342fe1b2c904d1ab04f0fc7a58abca9", None);
        assert_eq!(bare.to_string(), "620d8626-4243-5a65-915a-f198f7c03350");
        let shared = MessageId::from_foreign_id(
            "telnyx",
            "40385f64-5717-4562-b3fc-2c963f66afa6",
            "+18665550001".parse().ok(),
        );
        assert_eq!(shared.to_string(), "c87958e8-3e08-5050-b8c9-b1616c3fa9a3");
    }

    #[test]
    fn only_a_hyphenated_uuid_is_a_message_id() {
        assert!("B31B6607-9c55-48ba-b145-3f40b809d2d2".parse::<MessageId>().is_ok());
        for text in
            ["b31b66079c5548bab1453f40b809d2d2", "{b31b6607-9c55-48ba-b145-3f40b809d2d2}", "", "x"]
        {
            assert_eq!(text.parse::<MessageId>(), Err(NotAMessageId), "{text}");
        }
    }

    #[test]
    fn a_prefix_is_a_word_before_the_colon() {
        for (text, prefix) in [
            ("rcs:+15558675310", Some("rcs")),
            (" SMS : 001 555 867 5310", Some("SMS")),
            ("\u{202a}tel:+15558675310", Some("tel")),
            ("rcs:brand:x", Some("rcs")),
            ("+15558675310", None),
            (":+15558675310", None),
            ("x1:+15558675310", None),
            ("", None),
        ] {
            assert_eq!(Destination::prefix(text).as_deref(), prefix, "{text:?}");
        }
    }

    #[test]
    fn destinations_are_e164_numbers() {
        for good in ["+1234567", "+393331234567", "+123456789012345"] {
            assert_eq!(good.parse::<Destination>().unwrap().to_string(), good);
        }
        for bad in ["", "+", "+123456", "+0123456", "+1234567890123456", "393331234567", "+39 333"]
        {
            assert_eq!(bad.parse::<Destination>(), Err(NotADestination), "{bad}");
        }
        for provided in [
            "+15558675310",
            "15558675310",
            "0015558675310",
            "rcs:+15558675310",
            "rcs:15558675310",
            "tel:+1-555-867-5310",
            "SMS: 001 555 867 5310",
            " 1 (555) 867.5310 ",
            "+1\u{a0}555\u{2011}867\u{202f}5310",
            "\u{202a}+1 555 867 5310\u{202c}",
            "\u{feff}+15558675310\u{200b}",
            "+1\t555\n867\u{2013}5310",
        ] {
            let number = Destination::parse_lenient(provided);
            assert_eq!(number, "+15558675310".parse().ok(), "{provided:?}");
        }
        for other in [
            "",
            "12345",
            "+",
            "00",
            "+0015558675310",
            "000015558675310",
            "++15558675310",
            "+1555867531O",
            "rcs:brand",
            "x1:+15558675310",
            "+1555867/5310",
            "+15558675310,+1",
        ] {
            assert_eq!(Destination::parse_lenient(other), None, "{other:?}");
        }
        let wide = format!("+1{}5558675310", " ".repeat(100_000));
        assert_eq!(Destination::parse_lenient(&wide), "+15558675310".parse().ok());
        assert_eq!(Destination::parse_lenient(&"1".repeat(100_000)), None);
    }
}
