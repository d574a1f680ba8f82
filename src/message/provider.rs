//! The aggregator behind the gateway, in its own words.

/// The `provider` object of a message. Members that are not known are empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Provider {
    /// The aggregator's name.
    pub name: String,
    /// The aggregator's own id of the message.
    pub id: String,
    /// The aggregator's own word for the status.
    pub status: String,
    /// The aggregator's status or error code.
    pub code: String,
    /// What went wrong, in words.
    pub message: Option<String>,
}

/// What a notification itself states about the provider; an empty text states nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StatedProvider {
    /// The aggregator's name, where the notification states it.
    pub name: String,
    /// The aggregator's own id of the message.
    pub id: String,
    /// The aggregator's own word for the status.
    pub status: String,
    /// The aggregator's status or error code.
    pub code: String,
    /// What went wrong, where the notification says it in words.
    pub message: String,
}
