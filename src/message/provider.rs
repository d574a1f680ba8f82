//! The aggregator behind the gateway, in its own words.

use super::text_limits::cut_owned;

/// The `provider` object of a message. Unknown members are empty.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Provider<Text = String> {
    /// The aggregator's name.
    pub name: Text,
    /// The aggregator's own id for the message.
    pub id: Text,
    /// The aggregator's own status word.
    pub status: Text,
    /// The aggregator's status or error code.
    pub code: Text,
    /// Description of the error in words.
    pub message: Option<Text>,
}

impl<Text> Provider<Text> {
    /// The same provider with each text converted, for example borrowed or owned.
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

/// Provider as a notification states it; an empty text means "not stated".
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StatedProvider {
    /// The aggregator's name, if stated.
    pub name: String,
    /// The aggregator's own id for the message.
    pub id: String,
    /// The aggregator's own status word.
    pub status: String,
    /// The aggregator's status or error code.
    pub code: String,
    /// Description of the error in words, if stated.
    pub message: String,
}

impl StatedProvider {
    /// Cuts the texts to the length that is kept.
    pub(crate) fn cut(self) -> Self {
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
