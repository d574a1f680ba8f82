//! The one place that reads the clock.

use std::time::{SystemTime, UNIX_EPOCH};

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
            Self::System => {
                // Before 1970 too: a machine without a battery may say anything when it starts.
                let micros = match SystemTime::now().duration_since(UNIX_EPOCH) {
                    Ok(since) => i64::try_from(since.as_micros()).ok(),
                    Err(until) => {
                        i64::try_from(until.duration().as_micros()).ok().map(|until| -until)
                    }
                };
                micros.and_then(Timestamp::from_micros).unwrap_or(Timestamp::EPOCH)
            }
            Self::Fixed(time) => time,
        }
    }
}
