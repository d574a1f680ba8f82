//! Matching of a phone number in free text, in any notation.
//!
//! Used for erasure, so a text that could be read as the phone number matches: erasing one message too many
//! is a smaller fault than leaving one.

use percent_encoding::percent_decode;

use super::id::Destination;

/// Maximum number of digit groups in a written phone number.
const MAX_GROUPS: usize = 16;
/// Dialling prefixes that stand for the `+`. At most one of them precedes the digits.
const DIALLING_PREFIXES: [&str; 6] = ["", "00", "011", "0011", "010", "810"];
/// Maximum number of nested encodings, for example a query string in a text in a JSON document.
const MAX_ENCODING_LAYERS: usize = 5;
/// Zeros of the decimal digits that Unicode has besides ASCII's: those of scripts in use, and those that are
/// only typographic variants.
const ZERO_DIGITS: [u32; 28] = [
    0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xe50,
    0xed0, 0xf20, 0x1040, 0x17e0, 0x1810, 0x1946, 0x19d0, 0xa8d0, 0xff10, 0x1d7ce, 0x1d7d8,
    0x1d7e2, 0x1d7ec, 0x1d7f6, 0x1fbf0,
];
/// HTML entities that can stand between digits.
const ENTITIES: [(&str, char); 6] = [
    ("&nbsp;", ' '),
    ("&plus;", '+'),
    ("&hyphen;", '-'),
    ("&dash;", '-'),
    ("&lpar;", '('),
    ("&rpar;", ')'),
];

impl Destination {
    /// Whether a text contains this phone number: with a `+`, with a dialling prefix or with neither; in
    /// groups or in one piece; in digits of any script; also where the text is encoded for a URL, JSON or
    /// HTML. A part of a longer number does not match.
    pub fn occurs_in(self, text: &[u8]) -> bool {
        let number = self.number().to_string();
        let mut text = text.to_owned();
        for _ in 0..MAX_ENCODING_LAYERS {
            if is_written_in(&number, &String::from_utf8_lossy(&text)) {
                return true;
            }
            let decoded = decoded(&text);
            if decoded == text {
                return false;
            }
            text = decoded;
        }
        false
    }
}

/// Removes one layer of each encoding.
fn decoded(text: &[u8]) -> Vec<u8> {
    let is_encoded = |mark: u8| text.contains(&mark);
    if !is_encoded(b'%') && !is_encoded(b'\\') && !is_encoded(b'&') {
        return text.to_owned();
    }
    let decoded: Vec<u8> = percent_decode(text).collect();
    let mut decoded = String::from_utf8_lossy(&decoded).into_owned();
    if decoded.contains('\\') {
        decoded = without_escapes(&decoded);
    }
    if decoded.contains('&') {
        decoded = without_entities(&decoded);
    }
    decoded.into_bytes()
}

/// Replaces JSON escapes, complete or cut off, by the characters they stand for.
fn without_escapes(text: &str) -> String {
    let mut plain = String::new();
    let mut parts = text.split('\\');
    plain.extend(parts.next());
    for part in parts {
        let hex = part.strip_prefix('u').and_then(|part| part.split_at_checked(4));
        let letter = hex.and_then(|(hex, rest)| {
            let letter = char::from_u32(u32::from_str_radix(hex, 16).ok()?)?;
            Some((letter, rest))
        });
        match (letter, part.split_at_checked(1)) {
            (Some((letter, rest)), _) => {
                plain.push(letter);
                plain.push_str(rest);
            }
            (None, Some(("t" | "n" | "r" | "f" | "b", rest))) => {
                plain.push(' ');
                plain.push_str(rest);
            }
            // `\/` is a slash; any other escaped character stands for itself.
            (None, _) => plain.push_str(part),
        }
    }
    plain
}

/// Replaces HTML entities by the characters they stand for.
fn without_entities(text: &str) -> String {
    let text = ENTITIES.iter().fold(text.to_owned(), |text, (entity, letter)| {
        text.replace(entity, letter.encode_utf8(&mut [0; 4]))
    });
    let mut plain = String::new();
    let mut parts = text.split("&#");
    plain.extend(parts.next());
    for part in parts {
        let letter = part.split_once(';').and_then(|(code, rest)| {
            let hex = code.strip_prefix(['x', 'X']);
            let code = hex.map_or_else(|| code.parse(), |hex| u32::from_str_radix(hex, 16)).ok()?;
            Some((char::from_u32(code)?, rest))
        });
        if let Some((letter, rest)) = letter {
            plain.push(letter);
            plain.push_str(rest);
        } else {
            plain.push_str("&#");
            plain.push_str(part);
        }
    }
    plain
}

fn is_written_in(number: &str, text: &str) -> bool {
    // `+44 (0)20 …`: the zero is dialled only within the country.
    let without_trunk = text.contains("(0)").then(|| text.replace("(0)", " "));
    let is_in_groups = |text: &str| {
        let is_number = |digits: &str| {
            DIALLING_PREFIXES.iter().any(|before| digits.strip_prefix(before) == Some(number))
        };
        // The digits since the last character that cannot be part of a phone number, and the offsets where
        // groups begin.
        let (mut digits, mut starts, mut inside) = (String::new(), Vec::new(), false);
        for letter in text.chars().chain(['x']) {
            if let Some(digit) = digit(letter) {
                if !inside {
                    starts.push(digits.len());
                }
                digits.push(digit);
                inside = true;
                continue;
            }
            let mut tails = starts.iter().rev().take(MAX_GROUPS);
            if inside && tails.any(|start| digits.get(*start..).is_some_and(is_number)) {
                return true;
            }
            if is_invisible(letter) {
                continue;
            }
            inside = false;
            if !is_separator(letter) {
                digits.clear();
                starts.clear();
            }
        }
        false
    };
    is_in_groups(text) || without_trunk.is_some_and(|text| is_in_groups(&text))
}

/// The ASCII digit that a character stands for.
fn digit(letter: char) -> Option<char> {
    if letter.is_ascii() {
        return letter.is_ascii_digit().then_some(letter);
    }
    let code = u32::from(letter);
    let zero = ZERO_DIGITS.iter().find(|zero| (**zero..**zero + 10).contains(&code))?;
    char::from_digit(code - zero, 10)
}

/// Whether a character is invisible, so that it separates nothing.
fn is_invisible(letter: char) -> bool {
    matches!(letter,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}')
}

/// Whether a character can separate the groups of a phone number: blanks, dashes, dots, slashes, brackets.
fn is_separator(letter: char) -> bool {
    letter.is_whitespace()
        || letter.is_control()
        || matches!(
            letter,
            '+' | '-'
                | '.'
                | '/'
                | '('
                | ')'
                | '['
                | ']'
                | '_'
                | '~'
                | '*'
                | '\''
                | '|'
                | '\u{b7}'
                | '\u{2010}'
                ..='\u{2015}'
                    | '\u{2018}'
                    | '\u{2019}'
                    | '\u{2022}'
                    | '\u{2024}'
                    | '\u{2027}'
                    | '\u{2043}'
                    | '\u{2044}'
                    | '\u{207b}'
                    | '\u{2212}'
                    | '\u{2215}'
                    | '\u{2219}'
                    | '\u{22c5}'
                    | '\u{2e31}'
                    | '\u{30fb}'
                    | '\u{30fc}'
                    | '\u{fe58}'
                    | '\u{fe63}'
                    | '\u{ff08}'
                    | '\u{ff09}'
                    | '\u{ff0b}'
                    | '\u{ff0d}'
                    | '\u{ff0e}'
                    | '\u{ff0f}'
                    | '\u{ff3f}'
                    | '\u{ff65}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_in_every_notation() {
        let number: Destination = "+393331234567".parse().unwrap();
        for text in [
            "+393331234567",
            "to 393331234567",
            "00393331234567;",
            "011 39 333 1234567",
            "tel:+39-333-123-4567",
            "rcs:393331234567",
            "+39 (333) 123.45.67",
            "+39 (0) 333 1234567",
            "39/333/1234567",
            "no 7 is 393331234567",
            "2026-02-12 393331234567",
            "call 393331234567 or 5",
            "+39\u{a0}333\u{a0}1234567",
            "+39\u{202f}333\u{2009}1234567",
            "+39\t333\t1234567",
            "+39\n333 1234567",
            "+39\u{2011}333\u{2011}1234567",
            "+39\u{2013}333\u{2212}1234567",
            "\u{ff0b}\u{ff13}\u{ff19}\u{ff13}\u{ff13}\u{ff13}\u{ff11}\u{ff12}\u{ff13}\u{ff14}\u{ff15}\u{ff16}\u{ff17}",
            "\u{663}\u{669}\u{663}\u{663}\u{663}\u{661}\u{662}\u{663}\u{664}\u{665}\u{666}\u{667}",
            "\u{202a}+39\u{200b}333\u{2060}123\u{ad}4567\u{202c}",
            "393\u{200b}331234567",
            "destination=%2B393331234567",
            "39%20333%201234567",
            "39%C2%A0333%e2%80%911234567",
            "%252B39%2520333%25201234567",
            "%33%39333123%34567",
            "destination=39+333+1234567&key=1",
            r#"{"to":"+39\u00a0333\u20111234567"}"#,
            r#"{"to":"\u002b\u0033\u00393331234567"}"#,
            r#"{"to":"39\/333\t1234567"}"#,
            r#"{"body":"{\"to\":\"39\\u00a03331234567\"}"}"#,
            "+39&nbsp;333&#160;123&#x2d;4567",
            "&#x2b;393331234567",
            "39_333_1234567",
            "39'333'1234567",
            "at 2026-02-12 +39 333 123-4567.",
            "in 2026 39 333 1234567 4",
        ] {
            assert!(number.occurs_in(text.as_bytes()), "{text}");
        }
        assert!(number.occurs_in(b"\xff\xfe 393331234567 \x80"));
        for text in [
            "",
            "393331234568",
            "3933312345678",
            "1393331234567",
            "39333,1234567",
            "39333123456",
            "39a3331234567",
            "39 333 123456",
            "%39",
            "393331234%567",
            "\\u",
            "\\u39",
            "&#;&#x;&#99999999;",
            "39=333=1234567",
        ] {
            assert!(!number.occurs_in(text.as_bytes()), "{text}");
        }
    }
}
