//! The one place that reads the clock.

use chrono::Utc;

use crate::message::Timestamp;

/// Where the time comes from.
#[derive(Debug, Clone, Copy)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// It is always this time.
    Fixed(Timestamp),
}

impl Clock {
    /// The time now.
    pub fn now(self) -> Timestamp {
        match self {
            #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
            Self::System => {
                Timestamp::from_micros(Utc::now().timestamp_micros()).unwrap_or(Timestamp::EPOCH)
            }
            Self::Fixed(time) => time,
        }
    }
}
