//! The client's own reference for a message.

use thiserror::Error;

/// Maximum length of each member of a reference, in bytes.
pub const MAX_REFERENCE_BYTES: usize = 512;

/// The `reference` object of the send request. An empty member is treated as absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference<Text = String> {
    service: Option<Text>,
    action: Option<Text>,
    key: Option<Text>,
}

/// Error: a member is longer than [`MAX_REFERENCE_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the reference {member} has {bytes} bytes; at most 512 are allowed")]
pub struct ReferenceTooLong {
    /// The member's name.
    pub member: &'static str,
    /// The member's length in bytes.
    pub bytes: usize,
}

impl ReferenceTooLong {
    /// Checks the length of a member.
    pub fn check(member: &'static str, text: &str) -> Result<(), Self> {
        let bytes = text.len();
        if bytes > MAX_REFERENCE_BYTES { Err(Self { member, bytes }) } else { Ok(()) }
    }
}

impl<Text: AsRef<str>> Reference<Text> {
    /// Makes a reference from its members that are not empty.
    pub fn new(
        service: Option<Text>,
        action: Option<Text>,
        key: Option<Text>,
    ) -> Result<Self, ReferenceTooLong> {
        let stated = |name, member: Option<Text>| {
            let stated = member.filter(|text| !text.as_ref().is_empty());
            let checked = stated.as_ref().map(|text| ReferenceTooLong::check(name, text.as_ref()));
            checked.transpose().map(|_short_enough| stated)
        };
        // The key is checked first, because clients search by it.
        let key = stated("key", key)?;
        Ok(Self { service: stated("service", service)?, action: stated("action", action)?, key })
    }

    /// Whether all members are absent.
    pub fn is_empty(&self) -> bool {
        self.service.is_none() && self.action.is_none() && self.key.is_none()
    }

    /// Name of the client's service.
    pub fn service(&self) -> Option<&str> {
        self.service.as_ref().map(Text::as_ref)
    }

    /// Name of the service's action.
    pub fn action(&self) -> Option<&str> {
        self.action.as_ref().map(Text::as_ref)
    }

    /// The client's key; messages are listed by it.
    pub fn key(&self) -> Option<&str> {
        self.key.as_ref().map(Text::as_ref)
    }

    /// The same reference with each text converted, for example borrowed or owned.
    pub fn map<'a, T>(&'a self, text: impl Fn(&'a Text) -> T) -> Reference<T> {
        let Self { service, action, key } = self;
        Reference {
            service: service.as_ref().map(&text),
            action: action.as_ref().map(&text),
            key: key.as_ref().map(&text),
        }
    }
}

impl Reference {
    /// The same reference with this service, if the reference is not empty and names no service.
    #[must_use]
    pub fn or_service(self, service: Option<&str>) -> Self {
        if self.is_empty() || self.service.is_some() {
            return self;
        }
        Self { service: service.map(str::to_owned), ..self }
    }
}
