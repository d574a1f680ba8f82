//! What became of the messages of each hour, in sums.

use std::time::Duration;

use crate::message::{Channel, Status, Timestamp};

/// How many hours since 1970 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hour(pub i64);

/// An hour, in microseconds.
const HOUR: i64 = 3_600_000_000;

impl Hour {
    /// The one in which this is.
    pub fn of(time: Timestamp) -> Self {
        Self(time.micros().div_euclid(HOUR))
    }

    /// When it begins; none if no time can say that.
    pub fn begins_at(self) -> Option<Timestamp> {
        Timestamp::from_micros(self.0.checked_mul(HOUR)?)
    }
}

/// How long a message took from its acceptance until there was evidence of its delivery: one of
/// [`Took::CLASSES`] classes, each half as long again as the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Took(u8);

/// Where the first class ends.
const FIRST: f64 = 0.5;
/// How much longer each class reaches than the one before it.
const STEP: f64 = 1.5;

impl Took {
    /// How many classes there are: up to half a second, and on to more than a fortnight.
    pub const CLASSES: u8 = 38;

    /// The class of this time; what is below nothing, because clocks differ, took no time.
    pub fn between(accepted_at: Timestamp, delivered_at: Timestamp) -> Self {
        let micros = delivered_at.micros().saturating_sub(accepted_at.micros());
        let took = Duration::from_micros(u64::try_from(micros).unwrap_or(0)).as_secs_f64();
        let class = (0..Self::CLASSES - 1).find(|class| took <= Self(*class).seconds());
        Self(class.unwrap_or(Self::CLASSES - 1))
    }

    /// The class of this number.
    pub fn from_class(class: u8) -> Option<Self> {
        (class < Self::CLASSES).then_some(Self(class))
    }

    /// Its number.
    pub fn class(self) -> u8 {
        self.0
    }

    /// The longest time in the class, in seconds.
    pub fn seconds(self) -> f64 {
        FIRST * STEP.powi(self.0.into())
    }
}

/// What is counted of an hour.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Counted {
    /// The messages accepted in it that have this status now.
    Status {
        /// The status.
        status: Status,
        /// If that is a failure, the provider's code for it; empty where none was given, or none that is
        /// [counted by itself](is_counted_by_itself).
        code: String,
    },
    /// Those that were delivered after so long, whatever was learned of them later (that they were read).
    Delivery(Took),
}

/// The code that stands for all codes of an hour and channel beyond the first 200.
pub const OTHER_CODES: &str = "other";

/// No longer code is counted by itself.
const LONGEST_CODE: usize = 64;
/// The digits of the shortest phone number.
const NUMBER_DIGITS: usize = 7;

/// Whether messages with this code of a provider are counted apart from others. Sums outlive the messages, also
/// those that are erased, so nothing is counted that a phone number could be written in.
pub fn is_counted_by_itself(code: &str) -> bool {
    let digits = code.bytes().filter(u8::is_ascii_digit).skip_while(|digit| *digit == b'0');
    code.len() <= LONGEST_CODE && digits.count() < NUMBER_DIGITS
}

/// How many messages of an hour and a channel there are of a kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sum {
    /// The hour in which they were accepted.
    pub hour: Hour,
    /// The way they travelled.
    pub channel: Channel,
    /// The kind.
    pub counted: Counted,
    /// How many.
    pub messages: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_in_the_class_that_reaches_it() {
        let at = |micros| Timestamp::from_micros(micros).unwrap();
        let took = |micros| Took::between(at(0), at(micros));
        assert_eq!(took(-1).class(), 0);
        assert_eq!(took(500_000).class(), 0);
        assert_eq!(took(500_001).class(), 1);
        assert_eq!(took(i64::from(u32::MAX) * 1_000_000).class(), Took::CLASSES - 1);
        for class in 0..Took::CLASSES {
            assert_eq!(Took::from_class(class).map(Took::class), Some(class));
        }
        assert_eq!(Took::from_class(Took::CLASSES), None);
        let fortnight = f64::from(14 * 86_400);
        assert!(Took::from_class(Took::CLASSES - 1).unwrap().seconds() > fortnight);
    }

    #[test]
    fn a_code_that_could_be_a_number_is_not_counted_by_itself() {
        for code in ["", "30003", "0x0000000B", "EC_ABSENT_SUBSCRIBER", "27/1"] {
            assert!(is_counted_by_itself(code), "{code}");
        }
        for code in ["393331234567", "to +39 333 12", "1234567", &"x".repeat(65)] {
            assert!(!is_counted_by_itself(code), "{code}");
        }
    }

    #[test]
    fn hours_begin_at_whole_hours_also_before_1970() {
        let hour = |text: &str| Hour::of(text.parse().unwrap());
        assert_eq!(hour("1970-01-01T00:59:59.999999Z"), Hour(0));
        assert_eq!(hour("1969-12-31T23:59:59Z"), Hour(-1));
        let shown = hour("2026-02-12T14:49:00Z").begins_at().unwrap();
        assert_eq!(shown.to_string(), "2026-02-12T14:00:00Z");
    }
}
