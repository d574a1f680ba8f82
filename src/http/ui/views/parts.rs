//! Elements shared by all views: moments, durations, statuses, numbers, links.

use std::borrow::Borrow;
use std::fmt::{self, Display};

use askama::filters::HtmlSafe;

use crate::message::{Status, Timestamp};

/// One second, in microseconds.
pub(crate) const SECOND: i64 = 1_000_000;

/// Moment, in UTC until the page's script converts it to the reader's zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment(pub(crate) Timestamp);

impl Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let iso = self.0.to_string();
        let (date, time) = (iso.get(..10), iso.get(11..19));
        let (date, time) = (date.unwrap_or_default(), time.unwrap_or_default());
        write!(f, r#"<time datetime="{iso}">{date} {time} UTC</time>"#)
    }
}

/// Safe: digits and markup of ours.
impl HtmlSafe for Moment {}

/// Status as it is shown: a shape and a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark(pub(crate) Status);

impl Mark {
    /// Word for the status.
    pub(crate) fn word(self) -> &'static str {
        match self.0 {
            Status::ProviderAcceptance => "Accepted",
            Status::Sent => "Sent",
            Status::Rejected => "Rejected",
            Status::Undelivered => "Undelivered",
            Status::Delivered => "Delivered",
            Status::Read => "Read",
        }
    }

    /// Name of the status's shape and colour in the style sheet.
    pub(crate) fn class(self) -> &'static str {
        match self.0 {
            Status::ProviderAcceptance => "accepted",
            Status::Sent => "sent",
            Status::Rejected => "rejected",
            Status::Undelivered => "undelivered",
            Status::Delivered => "delivered",
            Status::Read => "read",
        }
    }
}

impl Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (class, word) = (self.class(), self.word());
        write!(
            f,
            r##"<span class="status is-{class}"><svg class="icon" aria-hidden="true"><use href="#i-{class}"></use></svg>{word}</span>"##
        )
    }
}

/// Safe: words and markup of ours.
impl HtmlSafe for Mark {}

/// HTML rendered by another template of ours.
#[derive(Debug, Clone, Default)]
pub(crate) struct RawHtml(pub(crate) String);

impl RawHtml {
    /// Whether the HTML is empty.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Display for RawHtml {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Safe: a template escaped external text.
impl HtmlSafe for RawHtml {}

/// Duration in words, rounded down to one unit.
pub(crate) fn span(micros: i64) -> String {
    let seconds = micros.max(0) / SECOND;
    let (count, unit) = match seconds {
        0 if micros < SECOND / 2 => return "less than a second".to_owned(),
        0 => (1, "second"),
        1..120 => (seconds, "second"),
        120..7_200 => (seconds / 60, "minute"),
        7_200..172_800 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    let s = if count == 1 { "" } else { "s" };
    format!("{} {unit}{s}", grouped(count.unsigned_abs()))
}

/// Duration for tables: shorter and finer than [`span`].
pub(crate) fn short(micros: i64) -> String {
    let tenths = micros.max(0) / (SECOND / 10);
    match tenths / 10 {
        seconds @ 0..10 => format!("{seconds}.{} s", tenths % 10),
        seconds @ 10..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// Age of a moment, in words.
pub(crate) fn ago(then: Timestamp, now: Timestamp) -> String {
    let micros = now.micros().saturating_sub(then.micros());
    if micros < 0 { format!("in {}", span(-micros)) } else { format!("{} ago", span(micros)) }
}

/// Converts a count for calculations; counts above `u32::MAX` are cut off, which no number of messages
/// reaches.
pub(crate) fn exact(count: u64) -> f64 {
    u32::try_from(count).map_or(f64::from(u32::MAX), f64::from)
}

/// Formats a number in groups of three digits. Templates pass references, hence [`Borrow`].
pub(crate) fn grouped(number: impl Borrow<u64>) -> String {
    let digits = number.borrow().to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Formats a count with its noun: `1 message`, `2 messages`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{} {noun}{s}", grouped(number))
}

/// Share in per cent; 100 % only if nothing is missing, `None` of nothing.
pub(crate) fn share(part: u64, whole: u64) -> Option<String> {
    if whole == 0 {
        return None;
    }
    let (of, all) = (u128::from(part), u128::from(whole));
    let rounded = (of * 1_000 + all / 2) / all;
    let tenths = if part < whole { rounded.min(999) } else { rounded };
    Some(format!("{}.{}\u{a0}%", tenths / 10, tenths % 10))
}

/// Query string of these pairs, percent-encoded.
pub(crate) fn query<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_use_the_most_suitable_unit() {
        for (seconds, expected) in [
            (0, "less than a second"),
            (1, "1 second"),
            (119, "119 seconds"),
            (180, "3 minutes"),
            (7_200, "2 hours"),
            (172_800, "2 days"),
            (-5, "less than a second"),
        ] {
            assert_eq!(span(seconds * SECOND), expected);
        }
        assert_eq!(span(600_000), "1 second");
    }

    #[test]
    fn short_durations_are_finer() {
        for (tenths, expected) in [(0, "0.0 s"), (15, "1.5 s"), (999, "99 s"), (1_800, "3 min")] {
            assert_eq!(short(tenths * SECOND / 10), expected);
        }
        assert_eq!(short(86_400 * SECOND), "24 h");
        assert_eq!(short(3 * 86_400 * SECOND), "3 days");
    }

    #[test]
    fn numbers_are_in_groups_and_shares_have_a_denominator() {
        for (number, text) in
            [(0_u64, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")]
        {
            assert_eq!(grouped(number), text);
        }
        assert_eq!(share(1, 0), None);
        assert_eq!(share(2, 3).as_deref(), Some("66.7\u{a0}%"));
        assert_eq!(share(99_999, 100_000).as_deref(), Some("99.9\u{a0}%"));
        assert_eq!(share(5, 5).as_deref(), Some("100.0\u{a0}%"));
        assert_eq!(counted(1, "message"), "1 message");
    }

    #[test]
    fn moments_state_their_zone() {
        let moment = Moment("2026-02-12T14:50:35.5Z".parse().unwrap());
        let html = r#"<time datetime="2026-02-12T14:50:35.500Z">2026-02-12 14:50:35 UTC</time>"#;
        assert_eq!(moment.to_string(), html);
        let before = "2026-02-12T14:50:30Z".parse().unwrap();
        assert_eq!(ago(before, moment.0), "5 seconds ago");
    }
}
