//! The client's own mark on a message.

use thiserror::Error;

/// The most bytes a reference key may have.
pub const MAX_KEY_BYTES: usize = 512;

/// The reference object of the send request. A member that is empty says nothing and is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    service: Option<String>,
    action: Option<String>,
    key: Option<String>,
}

/// The key is longer than [`MAX_KEY_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the reference key has {0} bytes; at most 512 are allowed")]
pub struct KeyTooLong(pub usize);

impl Reference {
    /// A reference with those of its members that say something.
    pub fn new(
        service: Option<String>,
        action: Option<String>,
        key: Option<String>,
    ) -> Result<Self, KeyTooLong> {
        let said = |member: Option<String>| member.filter(|text| !text.is_empty());
        match said(key) {
            Some(key) if key.len() > MAX_KEY_BYTES => Err(KeyTooLong(key.len())),
            key => Ok(Self { service: said(service), action: said(action), key }),
        }
    }

    /// Whether nothing is referred to.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The client's service.
    pub fn service(&self) -> Option<&str> {
        self.service.as_deref()
    }

    /// The service's action.
    pub fn action(&self) -> Option<&str> {
        self.action.as_deref()
    }

    /// The client's key, by which messages are found.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// The same reference, of this service if it is not empty and names none.
    #[must_use]
    pub fn or_service(self, service: Option<&str>) -> Self {
        if self.is_empty() || self.service.is_some() {
            return self;
        }
        Self { service: service.map(str::to_owned), ..self }
    }
}
