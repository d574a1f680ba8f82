//! A moment, in microseconds since 1970 UTC, and its text.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, NaiveDateTime, Timelike};
use thiserror::Error;

/// A moment in UTC, to the microsecond; what is finer is cut off. Its year has four digits.
///
/// Kept as microseconds since the start of 1970, because it is compared and stored more often than read
/// by people.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// The first moment of the year 0, and the last of the year 9999: RFC 3339 can write no others.
const FIRST: i64 = -62_167_219_200_000_000;
const LAST: i64 = 253_402_300_799_999_999;

/// Why a text is no moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NotATime {
    /// A date and a time of day, but of which zone is not said.
    #[error("a time without a zone; write it like 2026-02-12T14:51:00Z")]
    NoZone,
    /// No time at all.
    #[error("not a time in ISO 8601, like 2026-02-12T14:51:00Z")]
    NotATime,
}

impl Timestamp {
    /// The start of 1970.
    pub const EPOCH: Self = Self(0);

    /// The moment so many microseconds after the start of 1970; none beyond the years 0 to 9999.
    pub fn from_micros(micros: i64) -> Option<Self> {
        (FIRST..=LAST).contains(&micros).then_some(Self(micros))
    }

    /// Microseconds since the start of 1970.
    pub fn micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the start of 1970, rounded down.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }
}

impl FromStr for Timestamp {
    type Err = NotATime;

    /// Reads ISO 8601 with an offset: `Z`, `+01:00` or `+0100`.
    fn from_str(text: &str) -> Result<Self, NotATime> {
        let with_colon = with_colon_in_offset(text);
        match DateTime::parse_from_rfc3339(with_colon.as_deref().unwrap_or(text)) {
            Ok(moment) => Self::from_micros(moment.timestamp_micros()).ok_or(NotATime::NotATime),
            Err(_) if NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").is_ok() => {
                Err(NotATime::NoZone)
            }
            Err(_) => Err(NotATime::NotATime),
        }
    }
}

/// RFC 3339 knows `+01:00` only; ISO 8601 also has `+0100`.
fn with_colon_in_offset(text: &str) -> Option<String> {
    let (head, minutes) = text.split_at_checked(text.len().checked_sub(2)?)?;
    let (time, hours) = head.split_at_checked(head.len().checked_sub(2)?)?;
    let digits = hours.bytes().chain(minutes.bytes()).all(|b| b.is_ascii_digit());
    // A date ends in `-12` too, so a time of day must stand before the sign.
    (digits && time.ends_with(['+', '-']) && time.contains('T'))
        .then(|| format!("{time}{hours}:{minutes}"))
}

impl Timestamp {
    /// Writes it into this room: RFC 3339 in UTC with `Z` and no, three or six digits after the second.
    pub fn write(self, room: &mut [u8; 27]) -> &[u8] {
        let at = DateTime::from_timestamp_micros(self.0).unwrap_or_default();
        let micros = at.timestamp_subsec_micros();
        let year = at.year().unsigned_abs();
        *room = *b"0000-00-00T00:00:00.000000Z";
        for (place, number) in [
            (0, year / 100),
            (2, year % 100),
            (5, at.month()),
            (8, at.day()),
            (11, at.hour()),
            (14, at.minute()),
            (17, at.second()),
            (20, micros / 10_000),
            (22, micros / 100 % 100),
            (24, micros % 100),
        ] {
            for (to, digit) in room.iter_mut().skip(place).zip([number / 10, number % 10]) {
                *to += u8::try_from(digit).unwrap_or_default();
            }
        }
        let length = match micros {
            0 => "0000-00-00T00:00:00Z".len(),
            _ if micros.is_multiple_of(1_000) => "0000-00-00T00:00:00.000Z".len(),
            _ => room.len(),
        };
        let text = room.get_mut(..length).unwrap_or_default();
        if let Some(last) = text.last_mut() {
            *last = b'Z';
        }
        text
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(self.write(&mut [0; 27])).unwrap_or_default())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, printed: &str) {
        assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), printed);
    }

    #[test]
    fn a_time_is_printed_in_utc_with_as_many_digits_as_it_needs() {
        check("2026-02-12T14:51:00Z", "2026-02-12T14:51:00Z");
        check("2026-02-12T15:51:00+01:00", "2026-02-12T14:51:00Z");
        check("2026-02-12T15:51:00+0100", "2026-02-12T14:51:00Z");
        check("0000-01-02T03:04:05.000001Z", "0000-01-02T03:04:05.000001Z");
        check("1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999Z");
        check("9999-12-31T23:59:59.987654Z", "9999-12-31T23:59:59.987654Z");
        check("2026-02-12T14:51:00.120Z", "2026-02-12T14:51:00.120Z");
        check("2026-02-12T14:51:00.1234567Z", "2026-02-12T14:51:00.123456Z");
        check("2026-02-12T14:51:00.123456999+00:00", "2026-02-12T14:51:00.123456Z");
    }

    #[test]
    fn a_moment_has_a_year_of_four_digits() {
        for (micros, printed) in
            [(FIRST, "0000-01-01T00:00:00Z"), (LAST, "9999-12-31T23:59:59.999999Z")]
        {
            assert_eq!(Timestamp::from_micros(micros).unwrap().to_string(), printed);
            check(printed, printed);
        }
        assert_eq!(Timestamp::from_micros(FIRST - 1), None);
        assert_eq!(Timestamp::from_micros(LAST + 1), None);
    }

    #[test]
    fn a_time_without_zone_is_told_from_what_is_no_time() {
        assert_eq!("2026-02-12T14:51:00".parse::<Timestamp>(), Err(NotATime::NoZone));
        for text in ["", "now", "2026-02-12", "2026-02-30T00:00:00Z", "0000-01-01T00:00:00+01:00"] {
            assert_eq!(text.parse::<Timestamp>(), Err(NotATime::NotATime), "{text}");
        }
    }
}
