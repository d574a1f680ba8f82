//! `Date` header of answers. The codec has its own, but renews it in a task that panics if the clock is
//! before 1970.

use std::cell::RefCell;

use actix_web::http::header::HeaderValue;
use chrono::DateTime;

use crate::clock::Clock;

thread_local! {
    /// Second of the last answer, and its header value.
    static CACHED_DATE: RefCell<Option<(i64, HeaderValue)>> = const { RefCell::new(None) };
}

/// Current header value; `None` if the clock's time cannot be formatted.
pub(crate) fn now() -> Option<HeaderValue> {
    let second = Clock::System.now().seconds();
    CACHED_DATE.with_borrow_mut(|cached| {
        if cached.as_ref().is_none_or(|(of, _value)| *of != second) {
            *cached = header_value(second).map(|value| (second, value));
        }
        cached.as_ref().map(|(_second, value)| value.clone())
    })
}

/// Formats a date as RFC 9110, section 5.6.7, requires.
fn header_value(second: i64) -> Option<HeaderValue> {
    let date = DateTime::from_timestamp_secs(second)?;
    HeaderValue::try_from(date.format("%a, %d %b %Y %H:%M:%S GMT").to_string()).ok()
}

#[cfg(test)]
mod tests {
    use super::header_value;

    #[test]
    fn dates_have_the_http_format_even_before_1970() {
        for (second, text) in [
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (-1, "Wed, 31 Dec 1969 23:59:59 GMT"),
            (-62_167_219_200, "Sat, 01 Jan 0000 00:00:00 GMT"),
        ] {
            assert_eq!(header_value(second).unwrap(), text);
        }
    }
}
