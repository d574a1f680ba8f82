//! Signing as a sender does: what a test delivery is proven with.

use super::{Header, Headers, Request, Scheme};
use crate::message::Timestamp;

/// Headers that were made.
pub(crate) struct Made<'a>(pub(crate) &'a [(String, String)]);

impl Headers for Made<'_> {
    fn one(&self, wanted: &str) -> Header<'_> {
        let mut found = self.0.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        match (found.next(), found.next()) {
            (None, _) => Header::Absent,
            (Some((_, value)), None) => Header::One(value.as_bytes()),
            (Some(_), Some(_)) => Header::Several,
        }
    }
}

impl Scheme {
    /// The headers that prove a request to this address, with the first secret; none if only the
    /// sender can make them. Where the address carries the proof, and where none is asked for, there
    /// are no headers; the dialect makes those of its own signature.
    pub fn sign(
        &self,
        request: &Request<'_>,
        url: &str,
        id: &str,
        now: Timestamp,
    ) -> Option<Vec<(String, String)>> {
        match self {
            Self::UrlToken(_) | Self::SignedUrl(_) | Self::None => Some(Vec::new()),
            Self::Hmac(hmac) => hmac.sign(request, url, id, now),
            Self::StandardWebhooks(keys) => keys.sign(request, id, now),
            Self::Native(_) => None,
        }
    }
}
