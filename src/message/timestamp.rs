//! Timestamp: microseconds since 1970 UTC, and their text form.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Datelike, NaiveDate, Timelike};
use thiserror::Error;

/// A time in UTC, to the microsecond; finer digits are cut off. The year has four digits.
///
/// Kept as microseconds since the start of 1970, because timestamps are compared and stored more often than
/// read by people.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// First microsecond of the year 0 and last of the year 9999: RFC 3339 can write no others.
const MIN_MICROS: i64 = -62_167_219_200_000_000;
const MAX_MICROS: i64 = 253_402_300_799_999_999;

/// Error of reading a timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NotATime {
    /// A date and a time of day without a zone.
    #[error("a time without a zone; write it like 2026-02-12T14:51:00Z")]
    NoZone,
    /// Not a date and time.
    #[error("not a time in ISO 8601, like 2026-02-12T14:51:00Z")]
    NotATime,
}

impl Timestamp {
    /// The start of 1970.
    pub const EPOCH: Self = Self(0);
    /// The last microsecond of the year 9999, the latest timestamp.
    pub const LATEST: Self = Self(MAX_MICROS);

    /// Timestamp from microseconds since the start of 1970; none outside the years 0 to 9999.
    pub fn from_micros(micros: i64) -> Option<Self> {
        (MIN_MICROS..=MAX_MICROS).contains(&micros).then_some(Self(micros))
    }

    /// Microseconds since the start of 1970.
    pub fn micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the start of 1970, rounded down.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Seconds since the start of 1970 with their fraction, as metrics state times; 0 before 1970.
    pub fn unix_seconds(self) -> f64 {
        u64::try_from(self.0).map_or(0.0, |micros| Duration::from_micros(micros).as_secs_f64())
    }
}

impl FromStr for Timestamp {
    type Err = NotATime;

    /// Reads ISO 8601 with an offset: `Z`, `+01:00`, `+0100` or `+01`. The second may be absent, and so may
    /// the separators within date and time. A blank may stand for the `T`.
    fn from_str(text: &str) -> Result<Self, NotATime> {
        let mut rest = Rest(text.trim_ascii().as_bytes());
        let local = rest.local_micros().ok_or(NotATime::NotATime)?;
        if rest.0.is_empty() {
            return Err(NotATime::NoZone);
        }
        let offset = rest.offset_seconds().filter(|_| rest.0.is_empty());
        offset
            .and_then(|offset| Self::from_micros(local - offset * 1_000_000))
            .ok_or(NotATime::NotATime)
    }
}

/// The part of a text that is still to be read.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    /// Takes the next byte if it is one of these.
    fn take(&mut self, wanted: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        wanted.contains(first).then(|| {
            self.0 = rest;
            *first
        })
    }

    /// Takes a number of exactly this many digits.
    fn number(&mut self, digits: usize) -> Option<u32> {
        let (number, rest) = self.0.split_at_checked(digits)?;
        let number = number.iter().try_fold(0, |number, byte| {
            byte.is_ascii_digit().then(|| number * 10 + u32::from(byte - b'0'))
        })?;
        self.0 = rest;
        Some(number)
    }

    /// Takes date and time of day. Returns microseconds since 1970, read as UTC.
    fn local_micros(&mut self) -> Option<i64> {
        let year = self.number(4)?;
        self.take(b"-");
        let month = self.number(2)?;
        self.take(b"-");
        let day = self.number(2)?;
        self.take(b"Tt ")?;
        let hour = self.number(2)?;
        self.take(b":");
        let minute = self.number(2)?;
        let has_colon = self.take(b":").is_some();
        let (mut second, mut micros) = (0, 0);
        if has_colon || self.0.first().is_some_and(u8::is_ascii_digit) {
            second = self.number(2)?;
            if self.take(b".,").is_some() {
                micros = self.fraction()?;
            }
        }
        // A leap second counts as the first second of the next minute.
        let (second, leap) = if second == 60 { (59, 1) } else { (second, 0) };
        let date = NaiveDate::from_ymd_opt(year.try_into().ok()?, month, day)?;
        let seconds = date.and_hms_opt(hour, minute, second)?.and_utc().timestamp() + leap;
        Some(seconds * 1_000_000 + i64::from(micros))
    }

    /// Takes the digits of a fraction of a second, as microseconds; finer digits are cut off.
    fn fraction(&mut self) -> Option<u32> {
        let end = self.0.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(self.0.len());
        let (digits, rest) = self.0.split_at(end);
        self.0 = rest;
        let places = digits.iter().map(|byte| u32::from(byte - b'0')).chain([0; 6]);
        (!digits.is_empty()).then(|| places.take(6).fold(0, |micros, digit| micros * 10 + digit))
    }

    /// Takes an offset from UTC, in seconds.
    fn offset_seconds(&mut self) -> Option<i64> {
        let sign = match self.take(b"Zz+-")? {
            b'+' => 1,
            b'-' => -1,
            _ => return Some(0),
        };
        let hours = self.number(2)?;
        let minutes = if self.0.is_empty() {
            0
        } else {
            self.take(b":");
            self.number(2)?
        };
        let seconds = i64::from(hours * 60 + minutes) * 60;
        (hours < 24 && minutes < 60).then_some(sign * seconds)
    }
}

impl Timestamp {
    /// Writes the timestamp into the buffer: RFC 3339 in UTC with `Z` and no, three or six digits after the
    /// second.
    pub fn write(self, buffer: &mut [u8; 27]) -> &[u8] {
        let at = DateTime::from_timestamp_micros(self.0).unwrap_or_default();
        let micros = at.timestamp_subsec_micros();
        let year = at.year().unsigned_abs();
        *buffer = *b"0000-00-00T00:00:00.000000Z";
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
            for (to, digit) in buffer.iter_mut().skip(place).zip([number / 10, number % 10]) {
                *to += u8::try_from(digit).unwrap_or_default();
            }
        }
        let length = match micros {
            0 => "0000-00-00T00:00:00Z".len(),
            _ if micros.is_multiple_of(1_000) => "0000-00-00T00:00:00.000Z".len(),
            _ => buffer.len(),
        };
        let text = buffer.get_mut(..length).unwrap_or_default();
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
    fn timestamps_are_printed_in_utc_with_0_3_or_6_fraction_digits() {
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
    fn every_iso_8601_form_with_a_zone_is_parsed() {
        for text in [
            "2026-02-12T14:50Z",
            "2026-02-12T15:50+01:00",
            "2026-02-12T15:50+0100",
            "2026-02-12T15:50+01",
            "2026-02-12T09:20-0530",
            "2026-02-12T14:50:00+00",
            "2026-02-12T14:50:00-00:00",
            "2026-02-12t14:50:00z",
            "2026-02-12 15:50:00+01",
            "2026-02-12T14:50:00,000Z",
            "2026-02-12T14:49:60Z",
            "20260212T145000Z",
            "20260212T1550+01",
            " 2026-02-12T14:50:00.0000000000000000000000Z\n",
        ] {
            check(text, "2026-02-12T14:50:00Z");
        }
        check("2026-02-12T15:50:35.5+01", "2026-02-12T14:50:35.500Z");
        check("1969-12-31T23:59:59.9999999Z", "1969-12-31T23:59:59.999999Z");
        check("2024-02-29T00:00:00.0000019+00", "2024-02-29T00:00:00.000001Z");
    }

    #[test]
    fn timestamps_have_a_four_digit_year() {
        for (micros, printed) in
            [(MIN_MICROS, "0000-01-01T00:00:00Z"), (MAX_MICROS, "9999-12-31T23:59:59.999999Z")]
        {
            assert_eq!(Timestamp::from_micros(micros).unwrap().to_string(), printed);
            check(printed, printed);
        }
        assert_eq!(Timestamp::from_micros(MIN_MICROS - 1), None);
        assert_eq!(Timestamp::from_micros(MAX_MICROS + 1), None);
    }

    #[test]
    fn a_missing_zone_and_an_invalid_time_are_different_errors() {
        for text in ["2026-02-12T14:51:00", "2026-02-12T14:51", "2026-02-12 14:51:00.123"] {
            assert_eq!(text.parse::<Timestamp>(), Err(NotATime::NoZone), "{text}");
        }
        for text in [
            "",
            "now",
            "2026-02-12",
            "2026-02-12T14Z",
            "2026-02-30T00:00:00Z",
            "0000-01-01T00:00:00+01:00",
            "2026-02-12T24:00:00Z",
            "2026-02-12T14:60Z",
            "2026-02-12T14:50:61Z",
            "2026-02-12T14:50:Z",
            "2026-02-12T14:50:00.Z",
            "2026-02-12T14:50:00+1",
            "2026-02-12T14:50:00+24:00",
            "2026-02-12T14:50:00+01:60",
            "2026-02-12T14:50:00+01:",
            "2026-02-12T14:50:00 +01:00",
            "2026-02-12T14:50:00ZZ",
            "+2026-02-12T14:50:00Z",
            "1770907835",
            "1770907835000",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(NotATime::NotATime), "{text}");
        }
    }
}
