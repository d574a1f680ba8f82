//! Guard against spreadsheet formulas: keeps a cell's text as text.
//!
//! A spreadsheet takes a cell for a formula, a number or a date, depending on its first character and its
//! contents, and runs or changes it. A `'` before the text prevents that, see
//! <https://owasp.org/www-community/attacks/CSV_Injection>.

use std::borrow::Cow;

/// First characters of a formula, in every width.
const FORMULA_STARTS: [char; 13] =
    ['=', '+', '-', '@', '＝', '＋', '－', '＠', '﹦', '﹢', '﹣', '﹫', '−'];
/// Characters that end a cell for a program that does not know quotes, or uses another separator.
const CELL_ENDS: [char; 9] =
    ['\n', '\r', '\t', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}', ';'];
/// Maximum number of digits that a spreadsheet shows unchanged.
const MAX_SHOWN_DIGITS: usize = 11;

/// Puts a `'` before each part of the text that a spreadsheet would not take for text.
pub(crate) fn guard(text: &str) -> Cow<'_, str> {
    let parts = guard_parts(text);
    if !parts.starts_with('\'') && (text.starts_with(['\t', '\r']) || is_changed(text)) {
        return Cow::Owned(format!("'{parts}"));
    }
    parts
}

/// Guards the text, and each part of it that follows a character that ends a cell.
fn guard_parts(text: &str) -> Cow<'_, str> {
    if !text.split_inclusive(CELL_ENDS).any(is_formula) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 1);
    for part in text.split_inclusive(CELL_ENDS) {
        if is_formula(part) {
            safe.push('\'');
        }
        safe.push_str(part);
    }
    Cow::Owned(safe)
}

/// Whether the first visible character makes the part a formula.
fn is_formula(part: &str) -> bool {
    part.trim_start_matches(is_skipped).starts_with(FORMULA_STARTS)
}

/// Whether a spreadsheet skips this character before a formula: blanks, invisible characters, and the quote,
/// which a program with another separator removes.
fn is_skipped(letter: char) -> bool {
    letter.is_whitespace()
        || letter.is_control()
        || letter == '"'
        || matches!(letter, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{feff}')
}

/// Whether a spreadsheet would replace this text by a number or a date that looks different: without its
/// leading zeros, rounded, or as a day of the year.
fn is_changed(text: &str) -> bool {
    let is_shown = text.len() <= MAX_SHOWN_DIGITS
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'));
    let is_number = |letter: char| {
        letter.is_numeric() || letter.is_whitespace() || "eE.,:/-+%".contains(letter)
    };
    !is_shown && text.contains(char::is_numeric) && text.chars().all(is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_prefixed_with_a_quote() {
        for formula in FORMULA_STARTS {
            for before in ["", " ", "\u{a0}", "\u{3000}", "\u{feff}", "\u{200b} ", "\"", "\u{1}"] {
                let text = format!("{before}{formula}1+A1");
                assert_eq!(guard(&text), format!("'{text}"), "{text:?}");
                for end in CELL_ENDS {
                    let text = format!("ok{end}{before}{formula}cmd|' /C calc'!A0");
                    let safe = format!("ok{end}'{before}{formula}cmd|' /C calc'!A0");
                    assert_eq!(guard(&text), safe, "{text:?}");
                }
            }
        }
        for (text, safe) in [
            ("\tx", "'\tx"),
            ("\rx", "'\rx"),
            ("\r\n=x", "'\r\n'=x"),
            ("a\r\n\r\n =x", "a\r\n\r\n' =x"),
            ("=a\n=b", "'=a\n'=b"),
        ] {
            assert_eq!(guard(text), safe, "{text:?}");
        }
    }

    #[test]
    fn texts_that_a_spreadsheet_would_change_are_prefixed() {
        for text in [
            "007",
            "00",
            "123456789012",
            "1e5",
            "2E3",
            "2026-02-12",
            "1/2",
            "12:30",
            "2.0",
            "1,5",
            "50%",
            "1 000",
            "０１２",
        ] {
            assert_eq!(guard(text), format!("'{text}"));
        }
    }

    #[test]
    fn other_texts_stay_unchanged() {
        for text in [
            "",
            "0",
            "30003",
            "12345678901",
            "order 7",
            "a=b",
            "a-b",
            "x + y",
            "Niccolò — 7",
            "'=x",
            "e",
            "webhook_3",
            "a\nb",
            "a; b",
            "b31b6607-9c55-48ba-b145-3f40b809d2d2",
        ] {
            assert_eq!(guard(text), text);
        }
    }
}
