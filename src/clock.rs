//! Clock: the only place that reads the time.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::message::Timestamp;

/// Source of the time.
#[derive(Debug, Clone, Copy)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// Fixed time.
    Fixed(Timestamp),
}

impl Clock {
    /// Current time.
    pub fn now(self) -> Timestamp {
        match self {
            Self::System => {
                // Handles times before 1970: a machine without a battery may have any time when it starts.
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
