//! Verdict of a verification.

use thiserror::Error;

use super::secret::Secret;

/// Maximum number of signatures in one request. A sender that rotates its keys has two, and no standard names
/// more than a few.
pub(crate) const MAX_SIGNATURES: usize = 32;

/// Verified request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// The signed time is older than allowed: the delivery may only repeat stored notifications.
    pub too_old: bool,
    /// First secret that verifies the request, by its index in the configuration, from 0; `None` if the
    /// scheme has no secrets.
    pub secret: Option<usize>,
    /// Signed time, in seconds since 1970; `None` if the scheme signs no time.
    pub signed_at: Option<i64>,
    /// The URL states an expiry that seems to be in milliseconds, so in effect it never expires.
    pub expires_in_milliseconds: bool,
}

impl Verified {
    /// Result for a source without verification.
    pub const NOT_REQUIRED: Self =
        Self { too_old: false, secret: None, signed_at: None, expires_in_milliseconds: false };

    /// Verified by this secret, with no signed time or a recent one.
    pub fn by(secret: usize) -> Self {
        Self { secret: Some(secret), ..Self::NOT_REQUIRED }
    }
}

/// Reason why a request is not verified. For the log alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Unverified {
    /// No credential.
    #[error("no credential")]
    Missing,
    /// Wrong credential.
    #[error("wrong credential")]
    Wrong,
    /// Valid credential that has expired.
    #[error("expired credential")]
    Expired,
    /// Valid credential whose signed time is too far in the future.
    #[error("signed time in the future")]
    TooNew,
}

/// Finds the first secret that fits. All secrets are tried, so that the time does not tell which one fitted.
pub fn find_secret(
    secrets: &[Secret],
    verifies: impl Fn(&Secret) -> bool,
) -> Result<Verified, Unverified> {
    let places = secrets.iter().enumerate();
    first_verified(places.map(|(place, secret)| verifies(secret).then_some(place)))
}

/// First index that fits, after all have been tried.
pub(crate) fn first_verified(
    places: impl Iterator<Item = Option<usize>>,
) -> Result<Verified, Unverified> {
    places.fold(None, Option::or).map(Verified::by).ok_or(Unverified::Wrong)
}
