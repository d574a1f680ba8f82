//! Text typed into the search box: an id, a phone number, or a reference key.

use crate::message::{Destination, MessageId};

/// Interpretation of a typed text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SearchInput {
    /// Empty text.
    Nothing,
    /// Message id.
    Id(MessageId),
    /// Phone number with its country code.
    Number(Destination),
    /// Phone number without its country code, or too short to have one.
    National(String),
    /// Any other text, which can only be a reference key.
    Key,
}

/// Minimum number of digits of a national phone number.
const MIN_DIGITS: usize = 4;

impl SearchInput {
    /// Interprets a text; spaces around it must be removed.
    pub(crate) fn parse(text: &str) -> Self {
        if text.is_empty() {
            return Self::Nothing;
        }
        if let Ok(id) = text.to_ascii_lowercase().parse() {
            return Self::Id(id);
        }
        let Some((has_plus, digits)) = digits(text) else { return Self::Key };
        let international = digits.strip_prefix("00").filter(|_| !has_plus);
        // After the country code, some write the zero of national calls: `+44 (0)20 …`.
        match Destination::from_digits(international.unwrap_or(&digits)) {
            Ok(number) => Self::Number(number),
            Err(_) if has_plus || international.is_some() || digits.len() > 15 => Self::Key,
            Err(_) => Self::National(digits),
        }
    }
}

/// Digits of a text written like a phone number, and whether a `+` precedes them.
fn digits(text: &str) -> Option<(bool, String)> {
    let (has_plus, rest) = match text.strip_prefix('+') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let separators = [' ', '\u{a0}', '\u{202f}', '-', '.', '/', '(', ')', '\u{2011}', '\u{2013}'];
    let rest = rest.replace("(0)", "");
    let digits: String = rest.chars().filter(|letter| !separators.contains(letter)).collect();
    let is_number = digits.len() >= MIN_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some((has_plus, digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_ids_are_recognised_in_any_letter_case() {
        let id = "B31B6607-9c55-48ba-b145-3f40b809d2d2";
        assert_eq!(SearchInput::parse(id), SearchInput::Id(id.parse().unwrap()));
        assert_eq!(SearchInput::parse(id.trim_start_matches('B')), SearchInput::Key);
    }

    #[test]
    fn phone_numbers_are_recognised_in_any_notation() {
        let number = SearchInput::Number("+393331234567".parse().unwrap());
        for text in [
            "+393331234567",
            "393331234567",
            "00393331234567",
            "+39 333 123 4567",
            "0039 333-123.45/67",
            "+39 (333) 1234567",
            "+39\u{a0}333\u{2011}1234567",
        ] {
            assert_eq!(SearchInput::parse(text), number, "{text}");
        }
        assert_eq!(
            SearchInput::parse("+44 (0)20 7946 0958"),
            SearchInput::Number("+442079460958".parse().unwrap())
        );
    }

    #[test]
    fn national_numbers_are_distinguished_from_international_ones() {
        for (text, digits) in
            [("0333 1234567", "03331234567"), ("0171/2345", "01712345"), ("123456", "123456")]
        {
            assert_eq!(SearchInput::parse(text), SearchInput::National(digits.to_owned()));
        }
    }

    #[test]
    fn other_texts_are_reference_keys() {
        for text in
            ["order 7", "123", "webhook_3", "+", "+0123456", "0000", "12345678901234567", "7/a"]
        {
            let typed = SearchInput::parse(text);
            let is_key = typed == SearchInput::Key;
            assert!(is_key, "{text}: {typed:?}");
        }
        assert_eq!(SearchInput::parse(""), SearchInput::Nothing);
    }
}
