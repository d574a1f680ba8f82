//! The client's own mark on a message.

use thiserror::Error;

/// The most bytes each member of a reference may have.
pub const MAX_REFERENCE_BYTES: usize = 512;

/// The reference object of the send request. A member that is empty says nothing and is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference<Text = String> {
    service: Option<Text>,
    action: Option<Text>,
    key: Option<Text>,
}

/// A member is longer than [`MAX_REFERENCE_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the reference {member} has {bytes} bytes; at most 512 are allowed")]
pub struct ReferenceTooLong {
    /// The member's name.
    pub member: &'static str,
    /// How many bytes it has.
    pub bytes: usize,
}

impl ReferenceTooLong {
    /// Whether this member is short enough.
    pub fn check(member: &'static str, text: &str) -> Result<(), Self> {
        let bytes = text.len();
        if bytes > MAX_REFERENCE_BYTES { Err(Self { member, bytes }) } else { Ok(()) }
    }
}

impl<Text: AsRef<str>> Reference<Text> {
    /// A reference with those of its members that say something.
    pub fn new(
        service: Option<Text>,
        action: Option<Text>,
        key: Option<Text>,
    ) -> Result<Self, ReferenceTooLong> {
        let said = |name, member: Option<Text>| {
            let said = member.filter(|text| !text.as_ref().is_empty());
            let checked = said.as_ref().map(|text| ReferenceTooLong::check(name, text.as_ref()));
            checked.transpose().map(|_short_enough| said)
        };
        // The key first: it is what a client looks for.
        let key = said("key", key)?;
        Ok(Self { service: said("service", service)?, action: said("action", action)?, key })
    }

    /// Whether nothing is referred to.
    pub fn is_empty(&self) -> bool {
        self.service.is_none() && self.action.is_none() && self.key.is_none()
    }

    /// The client's service.
    pub fn service(&self) -> Option<&str> {
        self.service.as_ref().map(Text::as_ref)
    }

    /// The service's action.
    pub fn action(&self) -> Option<&str> {
        self.action.as_ref().map(Text::as_ref)
    }

    /// The client's key, by which messages are found.
    pub fn key(&self) -> Option<&str> {
        self.key.as_ref().map(Text::as_ref)
    }

    /// The same with its texts lent or kept.
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
    /// The same reference, of this service if it is not empty and names none.
    #[must_use]
    pub fn or_service(self, service: Option<&str>) -> Self {
        if self.is_empty() || self.service.is_some() {
            return self;
        }
        Self { service: service.map(str::to_owned), ..self }
    }
}
