//! Time window: maximum age and maximum lead of a signed time.

use super::verdict::{Unverified, Verified};
use crate::message::Timestamp;

/// Time in seconds (in the year 5138) from which on a signed time that is read as seconds is taken to be in
/// milliseconds.
pub const MIN_UNIX_MILLISECONDS: i64 = 100_000_000_000;

/// Maximum age and lead of a signed time; both bounds are inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Maximum age, in seconds.
    pub max_age_seconds: u32,
    /// Maximum lead, in seconds.
    pub max_skew_seconds: u32,
}

impl Default for Window {
    fn default() -> Self {
        Self { max_age_seconds: 14 * 24 * 60 * 60, max_skew_seconds: 300 }
    }
}

impl Window {
    /// Judges the signed time of a request whose signature is valid.
    pub fn judge(
        self,
        verified: Verified,
        signed_at: i64,
        now: Timestamp,
    ) -> Result<Verified, Unverified> {
        let age = now.seconds().saturating_sub(signed_at);
        if age < -i64::from(self.max_skew_seconds) {
            return Err(Unverified::TooNew);
        }
        let too_old = age > i64::from(self.max_age_seconds);
        Ok(Verified { too_old, signed_at: Some(signed_at), ..verified })
    }
}
