//! What providers send, and what it says in our words.
//!
//! A dialect is one file: the methods and bodies it takes, its own signature if it has one, and how
//! one delivery becomes statements. It knows neither stores nor HTTP types. What all dialects share
//! (ids, the callback URL's own parameters, defaults) is done once, in [`source`].
//!
//! To add one: a file beside `twilio.rs`, and its line in [`ALL`].

mod gateway;
mod rate;
mod source;
mod sources;
mod twilio;
mod url;
mod words;

pub use source::{BadSource, Settings, Source, Unfit, is_encoded, is_name};
pub use sources::Sources;

use crate::content::Content;
use crate::message::{
    Channel, Destination, MessageId, Notification, Reference, StatedProvider, Status, Timestamp,
};
use crate::proof::{Place, Request, Secret, Unproven, Verified};

/// Every dialect there is.
pub static ALL: &[&dyn Dialect] = &[&gateway::Gateway, &twilio::Twilio];

/// The dialect of this name.
pub fn by_name(name: &str) -> Option<&'static dyn Dialect> {
    ALL.iter().copied().find(|dialect| dialect.name() == name)
}

/// How one provider speaks.
pub trait Dialect: Sync {
    /// Its name in the configuration.
    fn name(&self) -> &'static str;

    /// The methods it posts with.
    fn methods(&self) -> &'static [&'static str] {
        &["POST"]
    }

    /// Whether its messages are named by ids of the provider's own.
    fn foreign_ids(&self) -> bool;

    /// Its own signature, if it has one.
    fn native(&self) -> Option<&dyn Native> {
        None
    }

    /// A delivery that is understood and says nothing of a status: the content type and the body.
    fn test_delivery(&self) -> (&'static str, &'static str);

    /// Reads what was posted: one result for each entry of the delivery.
    fn read(&self, content: &Content) -> Result<Vec<Reading>, NotEncoded>;
}

/// A dialect's own signature.
pub trait Native {
    /// Whether it can read a body of this content type.
    fn reads(&self, content_type: Option<&str>) -> bool;

    /// Whether the URL is part of what is signed.
    fn covers_url(&self) -> bool;

    /// Where its signature is.
    fn places(&self) -> Vec<Place>;

    /// The headers that prove a request to this address, with the first secret.
    fn sign(
        &self,
        secrets: &[Secret],
        request: &Request<'_>,
        url: &str,
    ) -> Option<Vec<(String, String)>>;

    /// Verifies a request; `url` is the public address, without the query, that the sender called.
    fn verify(
        &self,
        secrets: &[Secret],
        request: &Request<'_>,
        url: &str,
        now: Timestamp,
    ) -> Result<Verified, Unproven>;
}

/// What one entry of a delivery says, or why it says nothing.
pub type Reading = Result<Box<Said>, Aside>;

/// What one entry of a delivery says, in our words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Which message it is about.
    pub message: Name,
    /// The status it reached.
    pub status: Status,
    /// When, if a time with a zone is stated.
    pub stated_at: Option<Timestamp>,
    /// When the provider accepted it, if stated.
    pub accepted_at: Option<Timestamp>,
    /// The way it travels.
    pub channel: Channel,
    /// The recipient, if stated.
    pub destination: Option<Destination>,
    /// The client's reference.
    pub reference: Reference,
    /// The provider's own words.
    pub provider: StatedProvider,
    /// The plain words for the provider's code, where it gives none and there are any.
    pub plain_words: Option<&'static str>,
    /// How many SMS it took, if stated.
    pub segments: Option<u32>,
}

/// How a provider names a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// By our own id.
    Ours(MessageId),
    /// By an id of the provider's.
    Foreign(String),
}

/// Why an entry says nothing of a status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Aside {
    /// It is understood, and about something else.
    Ignored(String),
    /// It is not understood.
    Unreadable(String),
}

/// What was posted is not in the dialect's encoding, for this reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotEncoded(pub String);

/// One entry of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// It says this.
    Notification {
        /// What it says.
        notification: Box<Notification>,
        /// The provider's id, where the dialect's messages are named by it.
        foreign_id: Option<String>,
    },
    /// It is understood, and about something else.
    Ignored {
        /// What it is.
        reason: String,
    },
    /// It is not understood.
    Unreadable {
        /// What cannot be understood.
        reason: String,
    },
}

/// The query without what proves that a request is authentic; the rest as it was.
pub fn kept_query(query: &str) -> String {
    let proves = |pair: &&str| {
        form_urlencoded::parse(pair.as_bytes())
            .next()
            .is_some_and(|(name, _)| name == "token" || name == "signature")
    };
    query.split('&').filter(|pair| !proves(pair)).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::kept_query;

    #[test]
    fn what_proves_is_not_kept() {
        assert_eq!(kept_query("a=1&token=x&b=%2B+2&signature=y"), "a=1&b=%2B+2");
        assert_eq!(kept_query("t%6fken=x"), "");
        assert_eq!(kept_query(""), "");
    }
}
