//! Limits of a notification's texts.

use std::borrow::Cow;

/// Maximum length of a provider's name, status, code or message, in bytes; the rest is cut off.
pub const MAX_TEXT_BYTES: usize = 1_024;
/// Maximum length of a provider's id, in bytes.
pub const MAX_PROVIDER_ID_BYTES: usize = 256;

/// Mark at the end of a text that was cut.
const ELLIPSIS: &str = "…";

/// Cuts a text to at most `max_bytes` bytes. A longer text becomes its beginning and `…`, together at most
/// `max_bytes` bytes, cut between two characters.
pub fn cut(text: &str, max_bytes: usize) -> Cow<'_, str> {
    if text.len() <= max_bytes {
        return Cow::Borrowed(text);
    }
    let end = text.floor_char_boundary(max_bytes.saturating_sub(ELLIPSIS.len()));
    Cow::Owned([text.get(..end).unwrap_or_default(), ELLIPSIS].concat())
}

/// Cuts an owned text to [`MAX_TEXT_BYTES`], without a copy if it is short enough.
pub(crate) fn cut_owned(text: String) -> String {
    if text.len() <= MAX_TEXT_BYTES { text } else { cut(&text, MAX_TEXT_BYTES).into_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn long_texts_are_cut_at_the_limit(text in "[a-zàé€🙂]{0,40}", max_bytes in 3_usize..60) {
            let shortened = cut(&text, max_bytes);
            prop_assert!(shortened.len() <= max_bytes);
            match shortened.strip_suffix(ELLIPSIS) {
                Some(start) if text.len() > max_bytes => {
                    // The kept text is as long as possible: the next character would not fit.
                    let next = text.get(start.len()..).unwrap().chars().next().unwrap();
                    prop_assert!(text.starts_with(start) && shortened.len() + next.len_utf8() > max_bytes);
                }
                _ => prop_assert_eq!(&*shortened, &text),
            }
        }
    }
}
