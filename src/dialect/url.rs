//! The callback URL's own parameters.

use crate::message::{Destination, MessageId, Reference, ReferenceTooLong};

/// What a callback URL says by itself.
#[derive(Debug, Default)]
pub(super) struct Url {
    pub(super) message: Option<MessageId>,
    pub(super) destination: Option<Destination>,
    service: Option<String>,
    action: Option<String>,
    key: Option<String>,
}

impl Url {
    pub(super) fn read(query: &str) -> Self {
        let mut url = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "messageid" => url.message = value.parse().ok(),
                // A `+` that was not escaped has become a space, and bare digits get theirs.
                "destination" => url.destination = Destination::as_provided(&value),
                "service" => url.service = Some(value.into_owned()),
                "action" => url.action = Some(value.into_owned()),
                "key" => url.key = Some(value.into_owned()),
                _ => {}
            }
        }
        url
    }

    pub(super) fn reference(&self) -> Result<Reference, ReferenceTooLong> {
        Reference::new(self.service.clone(), self.action.clone(), self.key.clone())
    }
}
