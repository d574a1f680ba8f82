//! The aggregator behind the gateway, in its own words.

use super::text::cut_owned;

/// The `provider` object of a message. Members that are not known are empty.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Provider<Text = String> {
    /// The aggregator's name.
    pub name: Text,
    /// The aggregator's own id of the message.
    pub id: Text,
    /// The aggregator's own word for the status.
    pub status: Text,
    /// The aggregator's status or error code.
    pub code: Text,
    /// What went wrong, in words.
    pub message: Option<Text>,
}

impl<Text> Provider<Text> {
    /// The same with its texts lent or kept.
    pub fn map<'a, T>(&'a self, text: impl Fn(&'a Text) -> T) -> Provider<T> {
        let Self { name, id, status, code, message } = self;
        Provider {
            name: text(name),
            id: text(id),
            status: text(status),
            code: text(code),
            message: message.as_ref().map(text),
        }
    }
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

impl StatedProvider {
    /// What is kept of it.
    pub(super) fn cut(self) -> Self {
        let Self { name, id, status, code, message } = self;
        Self {
            name: cut_owned(name),
            id,
            status: cut_owned(status),
            code: cut_owned(code),
            message: cut_owned(message),
        }
    }
}
