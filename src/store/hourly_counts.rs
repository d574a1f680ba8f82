//! Hourly counts: totals of messages per hour, by status and by time to delivery.

use std::time::Duration;

use crate::message::{Channel, Status, Timestamp};

/// Hours since the start of 1970 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hour(pub i64);

/// Length of an hour, in microseconds.
const HOUR_MICROS: i64 = 3_600_000_000;

impl Hour {
    /// The hour that contains this time.
    pub fn of(time: Timestamp) -> Self {
        Self(time.micros().div_euclid(HOUR_MICROS))
    }

    /// Start of the hour; none outside the range of [`Timestamp`].
    pub fn begins_at(self) -> Option<Timestamp> {
        Timestamp::from_micros(self.0.checked_mul(HOUR_MICROS)?)
    }
}

/// Class of the time from acceptance to evidence of delivery: one of [`DeliveryTime::CLASSES`] classes, each with an
/// upper bound 1.5 times that of the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryTime(u8);

/// Upper bound of the first class, in seconds.
const FIRST_CLASS_SECONDS: f64 = 0.5;
/// Ratio of the upper bounds of neighbouring classes.
const CLASS_RATIO: f64 = 1.5;

impl DeliveryTime {
    /// Number of classes: the first is up to half a second, the last more than a fortnight.
    pub const CLASSES: u8 = 38;

    /// Class of the time between these two. A negative time, possible because clocks differ, counts as zero.
    pub fn between(accepted_at: Timestamp, delivered_at: Timestamp) -> Self {
        let micros = delivered_at.micros().saturating_sub(accepted_at.micros());
        let took = Duration::from_micros(u64::try_from(micros).unwrap_or(0)).as_secs_f64();
        let class = (0..Self::CLASSES - 1).find(|class| took <= Self(*class).seconds());
        Self(class.unwrap_or(Self::CLASSES - 1))
    }

    /// Class by number.
    pub fn from_class(class: u8) -> Option<Self> {
        (class < Self::CLASSES).then_some(Self(class))
    }

    /// Number of the class.
    pub fn class(self) -> u8 {
        self.0
    }

    /// Upper bound of the class, in seconds.
    pub fn seconds(self) -> f64 {
        FIRST_CLASS_SECONDS * CLASS_RATIO.powi(self.0.into())
    }
}

/// Kind of an hourly count.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CountKind {
    /// Messages accepted in the hour that have this status now.
    Status {
        /// The status.
        status: Status,
        /// For a failure, the provider's code; empty if there is none or if it is not [counted by
        /// itself](has_own_count).
        code: String,
    },
    /// Messages delivered after this time, whatever was reported of them later (that they were read).
    Delivery(DeliveryTime),
}

/// Stand-in for all codes of an hour and channel beyond the first 200.
pub const OTHER_CODES: &str = "other";

/// Longest code that is counted by itself, in bytes.
const MAX_CODE_BYTES: usize = 64;
/// Number of digits of the shortest phone number.
const MIN_NUMBER_DIGITS: usize = 7;

/// Whether messages with this provider code get a count of their own. Hourly counts outlive the messages,
/// also erased ones, so no count is kept under a code that could contain a phone number.
pub fn has_own_count(code: &str) -> bool {
    let digits = code.bytes().filter(u8::is_ascii_digit).skip_while(|digit| *digit == b'0');
    code.len() <= MAX_CODE_BYTES && digits.count() < MIN_NUMBER_DIGITS
}

/// Hourly count: number of messages of one kind, by hour and channel.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HourlyCount {
    /// Hour of acceptance.
    pub hour: Hour,
    /// Channel of the messages.
    pub channel: Channel,
    /// Kind of the count.
    pub kind: CountKind,
    /// Number of messages.
    pub messages: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_time_belongs_to_the_first_class_that_covers_it() {
        let at = |micros| Timestamp::from_micros(micros).unwrap();
        let took = |micros| DeliveryTime::between(at(0), at(micros));
        assert_eq!(took(-1).class(), 0);
        assert_eq!(took(500_000).class(), 0);
        assert_eq!(took(500_001).class(), 1);
        assert_eq!(took(i64::from(u32::MAX) * 1_000_000).class(), DeliveryTime::CLASSES - 1);
        for class in 0..DeliveryTime::CLASSES {
            assert_eq!(DeliveryTime::from_class(class).map(DeliveryTime::class), Some(class));
        }
        assert_eq!(DeliveryTime::from_class(DeliveryTime::CLASSES), None);
        let fortnight = f64::from(14 * 86_400);
        assert!(DeliveryTime::from_class(DeliveryTime::CLASSES - 1).unwrap().seconds() > fortnight);
    }

    #[test]
    fn codes_that_could_be_phone_numbers_get_no_count_of_their_own() {
        for code in ["", "30003", "0x0000000B", "EC_ABSENT_SUBSCRIBER", "27/1"] {
            assert!(has_own_count(code), "{code}");
        }
        for code in ["393331234567", "to +39 333 12", "1234567", &"x".repeat(65)] {
            assert!(!has_own_count(code), "{code}");
        }
    }

    #[test]
    fn hours_start_at_whole_hours_even_before_1970() {
        let hour = |text: &str| Hour::of(text.parse().unwrap());
        assert_eq!(hour("1970-01-01T00:59:59.999999Z"), Hour(0));
        assert_eq!(hour("1969-12-31T23:59:59Z"), Hour(-1));
        let shown = hour("2026-02-12T14:49:00Z").begins_at().unwrap();
        assert_eq!(shown.to_string(), "2026-02-12T14:00:00Z");
    }
}
