//! JSON reading: strict in its grammar and forgiving in its texts.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// JSON object read into `T`. `serde` by itself would also accept an array of `T`'s members in their order,
/// which no sender means.
#[derive(Debug, Default)]
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(members)).map(Object)
            }
        }
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

/// Body without a leading byte order mark, which some writers add.
pub(crate) fn without_byte_order_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

/// Text of a body: invalid UTF-8 becomes U+FFFD, so that a text which was cut inside a character does not
/// lose the rest of the body.
pub(crate) fn text(body: &[u8]) -> Cow<'_, str> {
    let body = without_byte_order_mark(body);
    // Faster than `from_utf8_lossy` on valid UTF-8, which looks at each character.
    str::from_utf8(body).map_or_else(|_loss| String::from_utf8_lossy(body), Cow::Borrowed)
}

/// Replaces each unpaired surrogate escape in JSON by U+FFFD; `None` if the text has no unpaired surrogate.
pub(crate) fn replace_lone_surrogates(json: &str) -> Option<String> {
    let mut repaired = String::new();
    let mut copied = 0;
    let mut at = 0;
    let rest = |at: usize| json.get(at..).unwrap_or_default();
    while let Some(found) = rest(at).find('\\') {
        at += found;
        let Some(unit) = escaped_unit(rest(at)) else {
            // Skip the escaped character: it cannot be a backslash that begins another escape.
            at += 1 + rest(at + 1).chars().next().map_or(0, char::len_utf8);
            continue;
        };
        let is_pair = (0xd800..0xdc00).contains(&unit)
            && escaped_unit(rest(at + ESCAPE_BYTES))
                .is_some_and(|low| (0xdc00..0xe000).contains(&low));
        if is_pair {
            at += 2 * ESCAPE_BYTES;
            continue;
        }
        if (0xd800..0xe000).contains(&unit) {
            repaired.push_str(json.get(copied..at).unwrap_or_default());
            repaired.push_str("\\ufffd");
            copied = at + ESCAPE_BYTES;
        }
        at += ESCAPE_BYTES;
    }
    (copied > 0).then(|| repaired + rest(copied))
}

/// Bytes of an escaped code unit, such as `\u00e8`.
const ESCAPE_BYTES: usize = 6;

/// Code unit at the start of a text, if it is escaped as `\uXXXX`.
fn escaped_unit(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
}

/// Parses a whole number in any notation: JSON has one kind of numbers, and to some writers `2` is
/// `2.0`.
pub(crate) fn whole_number(text: &str) -> Option<u32> {
    text.parse().ok().or_else(|| plain_number(text)?.parse().ok())
}

/// A number without an exponent, and without a fraction if it is whole: `2` for `2.0` and for `20e-1`. Exact for
/// whole numbers of up to 15 digits.
pub(crate) fn plain_number(text: &str) -> Option<String> {
    let is_number = |byte: u8| byte.is_ascii_digit() || b"+-.eE".contains(&byte);
    let float = Some(text).filter(|text| text.bytes().all(is_number))?.parse::<f64>().ok()?;
    // Adding zero drops the sign of `-0.0`.
    Some((float + 0.0).to_string())
}

/// Whether a text needs no escaping between JSON quotes.
pub(crate) fn is_plain(text: &str) -> bool {
    let is_special = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
    // No early exit, so that many bytes are compared in one step.
    !text.bytes().fold(false, |found, byte| found | is_special(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unpaired_surrogates_are_replaced_and_pairs_are_kept() {
        for (json, repaired) in [
            (r#""\ud83d""#, Some(r#""\ufffd""#)),
            (r#""a\uDC4Db""#, Some(r#""a\ufffdb""#)),
            (r#""\ud83d\ud83d\udc4d\udc4d""#, Some(r#""\ufffd\ud83d\udc4d\ufffd""#)),
            (r#""\ud83dx\udc4d""#, Some(r#""\ufffdx\ufffd""#)),
            (r#"{"\ud83d":"\\ud83d \ud83d"}"#, Some(r#"{"\ufffd":"\\ud83d \ufffd"}"#)),
            (r#""\\\ud83d\\""#, Some(r#""\\\ufffd\\""#)),
            (r#""\ud83d\udc4d""#, None),
            (r#""\\ud83d""#, None),
            (r#""\u00e8 è \ud8""#, None),
            (r#""\u+83d""#, None),
            (r#""\"#, None),
            (r#""\è\ud83""#, None),
            ("", None),
        ] {
            assert_eq!(replace_lone_surrogates(json).as_deref(), repaired, "{json}");
        }
    }

    #[test]
    fn a_whole_number_may_be_written_as_a_float() {
        for (text, number) in [("2", 2), ("2.0", 2), ("2.000", 2), ("2e0", 2), ("20E-1", 2)] {
            assert_eq!(whole_number(text), Some(number), "{text}");
        }
        assert_eq!(whole_number("-0.0"), Some(0));
        assert_eq!(whole_number("4294967295.0"), Some(u32::MAX));
        for text in ["", "2.5", "-1", "-1.0", "4294967296.0", "1e400", "inf", "NaN", "two", "2.0x"]
        {
            assert_eq!(whole_number(text), None, "{text}");
        }
    }
}
