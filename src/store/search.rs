//! Search: a filter over all messages, newest acceptance first.

use super::list::{Listing, Place};
use crate::message::{Channel, Shown, Status, Timestamp};

/// Filter of a search, applied to a message's displayed state. An absent criterion matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SearchFilter {
    /// Only those accepted at this time or later.
    pub from: Option<Timestamp>,
    /// Only those accepted before this time.
    pub to: Option<Timestamp>,
    /// Only those with one of these statuses; if empty, with any status.
    pub statuses: Vec<Status>,
    /// Only those on this channel.
    pub channel: Option<Channel>,
    /// Only those with a notification from this source or API key: a source's name, or `api:` and the name of
    /// a key.
    pub source: Option<String>,
    /// Only those with this provider code.
    pub provider_code: Option<String>,
    /// Only those with a destination (`true`) or without one (`false`).
    pub has_destination: Option<bool>,
}

impl SearchFilter {
    /// Whether a message passes the filter, except for the source, which needs its notifications.
    pub fn passes(&self, message: &Shown<'_>) -> bool {
        self.from.is_none_or(|from| message.accepted_at >= from)
            && self.to.is_none_or(|to| message.accepted_at < to)
            && (self.statuses.is_empty() || self.statuses.contains(&message.status))
            && self.channel.is_none_or(|channel| message.channel == channel)
            && self.provider_code.as_deref().is_none_or(|code| message.provider.code == code)
            && self.has_destination.is_none_or(|wanted| message.destination.is_some() == wanted)
    }
}

/// A part of a search: matching messages, and the place to continue from.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// The matching messages.
    pub listing: Listing,
    /// The search continues after this place; none at the end. A part has a time limit, so the search may
    /// continue although no message was found.
    pub next: Option<Place>,
    /// Number of all messages without a destination.
    pub without_destination: u64,
}
