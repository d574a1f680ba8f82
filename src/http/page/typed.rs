//! What somebody typed into the search box: an id, a phone number, or a reference key.

use crate::message::{Destination, MessageId};

/// What a text can be taken for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Typed {
    /// Nothing.
    Nothing,
    /// The id of a message.
    Id(MessageId),
    /// A number, with its country.
    Number(Destination),
    /// A number without its country, or too short for one with it.
    National(String),
    /// Anything else.
    Key,
}

/// A national number has so many digits at least; what has fewer is no number.
const FEWEST_DIGITS: usize = 4;

impl Typed {
    /// What this text is, without the spaces around it.
    pub(super) fn of(text: &str) -> Self {
        if text.is_empty() {
            return Self::Nothing;
        }
        if let Ok(id) = text.to_ascii_lowercase().parse() {
            return Self::Id(id);
        }
        let Some((plus, digits)) = digits(text) else { return Self::Key };
        let international = digits.strip_prefix("00").filter(|_| !plus);
        // Behind the country some write the zero that is for calls within it: `+44 (0)20 …`.
        match Destination::from_digits(international.unwrap_or(&digits)) {
            Ok(number) => Self::Number(number),
            Err(_) if plus || international.is_some() || digits.len() > 15 => Self::Key,
            Err(_) => Self::National(digits),
        }
    }
}

/// The digits of what is written like a number, and whether a `+` stands before them.
fn digits(text: &str) -> Option<(bool, String)> {
    let (plus, rest) = match text.strip_prefix('+') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let between = [' ', '\u{a0}', '\u{202f}', '-', '.', '/', '(', ')', '\u{2011}', '\u{2013}'];
    let rest = rest.replace("(0)", "");
    let digits: String = rest.chars().filter(|letter| !between.contains(letter)).collect();
    let is_number =
        digits.len() >= FEWEST_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some((plus, digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_known_in_any_case() {
        let id = "B31B6607-9c55-48ba-b145-3f40b809d2d2";
        assert_eq!(Typed::of(id), Typed::Id(id.parse().unwrap()));
        assert_eq!(Typed::of(id.trim_start_matches('B')), Typed::Key);
    }

    #[test]
    fn a_number_is_known_however_it_is_written() {
        let number = Typed::Number("+393331234567".parse().unwrap());
        for text in [
            "+393331234567",
            "393331234567",
            "00393331234567",
            "+39 333 123 4567",
            "0039 333-123.45/67",
            "+39 (333) 1234567",
            "+39\u{a0}333\u{2011}1234567",
        ] {
            assert_eq!(Typed::of(text), number, "{text}");
        }
        assert_eq!(
            Typed::of("+44 (0)20 7946 0958"),
            Typed::Number("+442079460958".parse().unwrap())
        );
    }

    #[test]
    fn a_national_number_is_told_from_an_international_one() {
        for (text, digits) in
            [("0333 1234567", "03331234567"), ("0171/2345", "01712345"), ("123456", "123456")]
        {
            assert_eq!(Typed::of(text), Typed::National(digits.to_owned()));
        }
    }

    #[test]
    fn all_else_is_a_reference_key() {
        for text in
            ["order 7", "123", "webhook_3", "+", "+0123456", "0000", "12345678901234567", "7/a"]
        {
            let typed = Typed::of(text);
            let is_key = typed == Typed::Key;
            assert!(is_key, "{text}: {typed:?}");
        }
        assert_eq!(Typed::of(""), Typed::Nothing);
    }
}
