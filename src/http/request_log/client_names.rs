//! Request and trace ids chosen by the client. A stranger chooses them, so none may carry a phone number into
//! the log.

use std::borrow::Cow;

use actix_web::http::header::{HeaderMap, HeaderName};

/// Maximum length of an accepted request id, in bytes.
const MAX_ID_BYTES: usize = 64;
/// Minimum number of digits of a phone number.
const MIN_NUMBER_DIGITS: usize = 7;
/// Run of digits that a UUID or a trace id contains only by a rare chance, while nearly every phone number
/// with its country code is as long.
const MAX_ID_DIGITS: usize = 10;
/// Lengths of the groups of a UUID.
const UUID_GROUP_LENGTHS: [usize; 5] = [8, 4, 4, 4, 12];

/// Client's request id, if it is plain and contains no phone number.
pub(crate) fn id<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let id = headers.get(name)?.to_str().ok()?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || is_separator(byte);
    let is_usable = !id.is_empty() && id.len() <= MAX_ID_BYTES && id.bytes().all(is_plain);
    (is_usable && !may_contain_phone_number(id)).then_some(id)
}

/// Trace id of a request: <https://www.w3.org/TR/trace-context/#traceparent-header>.
pub(crate) fn trace_id(headers: &HeaderMap) -> Option<&str> {
    let parent = headers.get("traceparent")?.to_str().ok()?;
    let mut parts = parent.split('-');
    let mut hex = |length| {
        let part = parts.next()?;
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (part.len() == length && part.bytes().all(is_hex)).then_some(part)
    };
    let (version, trace, span, _flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
    let is_nonzero = |id: &str| id.bytes().any(|digit| digit != b'0');
    // Later versions may have more fields.
    let has_all_fields = version != "00" || parts.next().is_none();
    (version != "ff" && is_nonzero(trace) && is_nonzero(span) && has_all_fields).then_some(trace)
}

/// Trace id as it is logged: without the middle of a run of digits that could be a phone number. The rest is
/// enough to find it.
pub(crate) fn with_phone_numbers_masked(id: &str) -> Cow<'_, str> {
    let mut runs = id.split(|c: char| !c.is_ascii_digit());
    let Some(run) = runs.find(|run| run.len() >= MAX_ID_DIGITS) else { return Cow::Borrowed(id) };
    let (Some(start), Some(end)) = (run.get(..2), run.get(run.len() - 2..)) else {
        return Cow::Borrowed("");
    };
    let masked = id.replace(run, &format!("{start}…{end}"));
    // The id may contain a second run.
    Cow::Owned(with_phone_numbers_masked(&masked).into_owned())
}

/// Whether an id could contain a phone number. In a UUID or a string of hex digits only a long run of digits
/// counts; elsewhere all digits count, in whatever groups.
fn may_contain_phone_number(id: &str) -> bool {
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let groups = id.split('-');
    let is_uuid = groups.clone().all(is_hex) && groups.map(str::len).eq(UUID_GROUP_LENGTHS);
    let is_random = is_uuid || id.len() == UUID_GROUP_LENGTHS.iter().sum::<usize>() && is_hex(id);
    let (mut run, min_digits) = (0, if is_random { MAX_ID_DIGITS } else { MIN_NUMBER_DIGITS });
    for byte in id.bytes() {
        match byte {
            b'0'..=b'9' => run += 1,
            _ if is_separator(byte) && !is_random => {}
            _ => run = 0,
        }
        if run >= min_digits {
            return true;
        }
    }
    false
}

fn is_separator(byte: u8) -> bool {
    b"-_.".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_could_contain_a_phone_number_are_recognised() {
        for name in [
            "an-id.of_4711",
            "7d3f0c1e-9f1a-4b7c-8a3e-5d2c1b0a9f8e",
            "4bf92f3577b34da6a3ce929d0e0e4736",
            "req-20f1",
            "123456",
        ] {
            assert!(!may_contain_phone_number(name), "{name}");
        }
        for name in [
            "393331234567",
            "0039-333-123.4567",
            "sms_39_333_1234567_1",
            "1234567",
            "00000000-0000-4000-8000-393331234567",
            "00000000000000000000393331234567",
            "abcdef393331234567abcdefabcdefab",
        ] {
            assert!(may_contain_phone_number(name), "{name}");
        }
    }

    #[test]
    fn phone_numbers_in_trace_ids_are_masked() {
        assert_eq!(
            with_phone_numbers_masked("4bf92f3577b34da6a3ce929d0e0e4736"),
            "4bf92f3577b34da6a3ce929d0e0e4736"
        );
        assert_eq!(with_phone_numbers_masked("00000000000000000000393331234567"), "00…67");
        assert_eq!(
            with_phone_numbers_masked("ab393331234567cd1234567890efabab"),
            "ab39…67cd12…90efabab"
        );
    }
}
