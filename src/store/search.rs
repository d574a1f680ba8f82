//! The messages of all, newest acceptance first, and which of them are wanted.

use super::{Listing, Place};
use crate::message::{Channel, Shown, Status, Timestamp};

/// Which messages are wanted, by what is known of them. What is not said does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Only those accepted at this time or later.
    pub from: Option<Timestamp>,
    /// Only those accepted before this time.
    pub to: Option<Timestamp>,
    /// Only those that have one of these statuses; any, if there is none.
    pub statuses: Vec<Status>,
    /// Only those that travelled this way.
    pub channel: Option<Channel>,
    /// Only those of which this source, or this key of the API, said something: the name of a source, or
    /// `api:` and that of a key.
    pub source: Option<String>,
    /// Only those with this code of the provider.
    pub provider_code: Option<String>,
    /// Only those with a number, or only those without.
    pub has_number: Option<bool>,
}

impl Wanted {
    /// Whether a message is wanted, as far as that does not depend on who spoke of it.
    pub fn passes(&self, message: &Shown<'_>) -> bool {
        self.from.is_none_or(|from| message.accepted_at >= from)
            && self.to.is_none_or(|to| message.accepted_at < to)
            && (self.statuses.is_empty() || self.statuses.contains(&message.status))
            && self.channel.is_none_or(|channel| message.channel == channel)
            && self.provider_code.as_deref().is_none_or(|code| message.provider.code == code)
            && self.has_number.is_none_or(|wanted| message.destination.is_some() == wanted)
    }
}

/// A part of the search: messages that are wanted, and where to go on.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// The messages that were found.
    pub listing: Listing,
    /// The search goes on behind this place; none if there is nothing more. It may be that no message was
    /// found and the search goes on nevertheless, because a part takes only so long.
    pub next: Option<Place>,
    /// How many of all messages have no number.
    pub without_number: u64,
}
