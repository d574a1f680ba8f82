//! Parameters of the callback URL.

use crate::message::{Destination, MessageId, Reference, ReferenceTooLong};

/// Statement of a callback URL: message id, destination and reference.
#[derive(Debug, Default)]
pub(crate) struct CallbackParams {
    pub(crate) message: Option<MessageId>,
    pub(crate) destination: Option<Destination>,
    service: Option<String>,
    action: Option<String>,
    key: Option<String>,
}

impl CallbackParams {
    pub(crate) fn read(query: &str) -> Self {
        let mut url = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "messageid" => url.message = value.parse().ok(),
                // An unescaped `+` has become a space; both that and bare digits get their `+`.
                "destination" => url.destination = Destination::parse_lenient(&value),
                "service" => url.service = Some(value.into_owned()),
                "action" => url.action = Some(value.into_owned()),
                "key" => url.key = Some(value.into_owned()),
                _ => {}
            }
        }
        url
    }

    pub(crate) fn reference(&self) -> Result<Reference, ReferenceTooLong> {
        Reference::new(self.service.clone(), self.action.clone(), self.key.clone())
    }
}
