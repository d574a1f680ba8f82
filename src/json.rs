//! Reading JSON strictly in its grammar and forgivingly in its texts, and writing what needs no care.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// A JSON object read into `T`. `serde` by itself would also take an array of `T`'s members in
/// their order, which nobody means.
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

/// A body without the byte order mark that some writers put before it.
pub(crate) fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

/// The text of a body: bytes that are no UTF-8 become U+FFFD, so that a text which was cut inside a
/// character does not lose what stands beside it.
pub(crate) fn text(body: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(without_mark(body))
}

/// JSON in which each half of a surrogate pair that has no other half is U+FFFD; none if it has no
/// such half.
pub(crate) fn without_half_pairs(json: &str) -> Option<String> {
    let mut mended = String::new();
    let mut kept = 0;
    let mut at = 0;
    let rest = |at: usize| json.get(at..).unwrap_or_default();
    while let Some(found) = rest(at).find('\\') {
        at += found;
        let Some(unit) = escaped_unit(rest(at)) else {
            // Whatever is escaped is no backslash that begins another escape.
            at += 1 + rest(at + 1).chars().next().map_or(0, char::len_utf8);
            continue;
        };
        let is_pair = (0xd800..0xdc00).contains(&unit)
            && escaped_unit(rest(at + ESCAPED)).is_some_and(|low| (0xdc00..0xe000).contains(&low));
        if is_pair {
            at += 2 * ESCAPED;
            continue;
        }
        if (0xd800..0xe000).contains(&unit) {
            mended.push_str(json.get(kept..at).unwrap_or_default());
            mended.push_str("\\ufffd");
            kept = at + ESCAPED;
        }
        at += ESCAPED;
    }
    (kept > 0).then(|| mended + rest(kept))
}

/// The bytes of an escaped code unit, as `\u00e8`.
const ESCAPED: usize = 6;

/// The code unit that a text begins with, if it is an escaped one.
fn escaped_unit(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
}

/// A whole number, however it is written: JSON has one kind of numbers, and to some writers `2` is
/// `2.0`.
pub(crate) fn whole_number(text: &str) -> Option<u32> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let is_number = |byte: u8| byte.is_ascii_digit() || b"+-.eE".contains(&byte);
    let float = Some(text).filter(|text| text.bytes().all(is_number))?.parse::<f64>().ok()?;
    // A zero loses its sign, and what is not whole or too large is no `u32`.
    (float + 0.0).to_string().parse().ok()
}

/// Whether a text stands in JSON between quotes as it is.
pub(crate) fn is_plain(text: &str) -> bool {
    let is_special = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
    // To the end in any case, so that many are looked at in one step.
    !text.bytes().fold(false, |found, byte| found | is_special(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_a_surrogate_pair_is_replaced_and_nothing_else() {
        for (json, mended) in [
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
            assert_eq!(without_half_pairs(json).as_deref(), mended, "{json}");
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
