//! Names that a request brings for itself. A stranger chooses them, so none may carry a phone number into
//! the log.

use std::borrow::Cow;

use actix_web::http::header::{HeaderMap, HeaderName};

/// A longer name is not taken over.
const LONGEST_ID: usize = 64;
/// How many digits a phone number has at least.
const SHORTEST_NUMBER: usize = 7;
/// How many digits in a row a UUID or a trace id has only by a rare chance, while nearly every number with
/// its country code has as many.
const RARE_RUN: usize = 10;
/// The lengths of the groups of a UUID.
const UUID: [usize; 5] = [8, 4, 4, 4, 12];

/// The name that a request has already, if it may be repeated: one that is plain and holds no number.
pub(super) fn id<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let id = headers.get(name)?.to_str().ok()?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || is_separator(byte);
    let is_usable = !id.is_empty() && id.len() <= LONGEST_ID && id.bytes().all(is_plain);
    (is_usable && !holds_number(id)).then_some(id)
}

/// The trace that a request belongs to: <https://www.w3.org/TR/trace-context/#traceparent-header>.
pub(super) fn trace_id(headers: &HeaderMap) -> Option<&str> {
    let parent = headers.get("traceparent")?.to_str().ok()?;
    let mut parts = parent.split('-');
    let mut hex = |length| {
        let part = parts.next()?;
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (part.len() == length && part.bytes().all(is_hex)).then_some(part)
    };
    let (version, trace, span, _flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
    let is_one = |id: &str| id.bytes().any(|digit| digit != b'0');
    // Later versions may go on behind that.
    let is_whole = version != "00" || parts.next().is_none();
    (version != "ff" && is_one(trace) && is_one(span) && is_whole).then_some(trace)
}

/// A trace id as it is logged: without the middle of a row of digits that could be a number. By the rest
/// it is still found.
pub(super) fn without_number(id: &str) -> Cow<'_, str> {
    let mut runs = id.split(|c: char| !c.is_ascii_digit());
    let Some(run) = runs.find(|run| run.len() >= RARE_RUN) else { return Cow::Borrowed(id) };
    let (Some(start), Some(end)) = (run.get(..2), run.get(run.len() - 2..)) else {
        return Cow::Borrowed("");
    };
    let masked = id.replace(run, &format!("{start}…{end}"));
    // There may be a second one.
    Cow::Owned(without_number(&masked).into_owned())
}

/// Whether a name could hold a phone number. Of a UUID and of hex digits that is rarely believed; of
/// everything else as soon as there are as many digits, in whatever groups.
fn holds_number(id: &str) -> bool {
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let groups = id.split('-');
    let is_uuid = groups.clone().all(is_hex) && groups.map(str::len).eq(UUID);
    let is_random = is_uuid || id.len() == UUID.iter().sum::<usize>() && is_hex(id);
    let (mut run, least) = (0, if is_random { RARE_RUN } else { SHORTEST_NUMBER });
    for byte in id.bytes() {
        match byte {
            b'0'..=b'9' => run += 1,
            _ if is_separator(byte) && !is_random => {}
            _ => run = 0,
        }
        if run >= least {
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
    fn a_name_with_a_number_is_told_from_others() {
        for name in [
            "an-id.of_4711",
            "7d3f0c1e-9f1a-4b7c-8a3e-5d2c1b0a9f8e",
            "4bf92f3577b34da6a3ce929d0e0e4736",
            "req-20f1",
            "123456",
        ] {
            assert!(!holds_number(name), "{name}");
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
            assert!(holds_number(name), "{name}");
        }
    }

    #[test]
    fn a_trace_id_is_logged_without_a_number() {
        assert_eq!(
            without_number("4bf92f3577b34da6a3ce929d0e0e4736"),
            "4bf92f3577b34da6a3ce929d0e0e4736"
        );
        assert_eq!(without_number("00000000000000000000393331234567"), "00…67");
        assert_eq!(without_number("ab393331234567cd1234567890efabab"), "ab39…67cd12…90efabab");
    }
}
