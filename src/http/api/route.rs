//! Routes under `/api`, parsed once: handler, log line and metrics use the same typed values.

use actix_web::http::Method;

use super::long_poll::Wait;
use super::params;
use crate::http::problem::Problem;
use crate::http::request_log::About;
use crate::message::{Destination, MessageId};

/// Parsed part of a request. An invalid part is answered with its problem once the request is authenticated
/// and its method is checked.
pub(crate) type Parsed<T> = Result<T, Problem>;

/// Route of a request under `/api`, with the parsed parts of its path.
pub(crate) enum ApiRoute {
    Message(Parsed<MessageId>),
    LongPoll(Parsed<MessageId>, Parsed<Wait>),
    History(Parsed<MessageId>),
    ByDestination(Parsed<Destination>),
    ByReference(Parsed<String>),
    /// Source and provider's id.
    ByProviderId(Parsed<(String, String)>),
    Messages,
    Export,
    Events,
    Registration(Parsed<MessageId>),
}

impl ApiRoute {
    /// Parses a path and its query; `None` if no route matches. The path is still percent-encoded: decoding it
    /// first would lose the difference between `/` and `%2F` in the key of a list.
    pub(crate) fn parse(path: &str, query: &str) -> Option<Self> {
        let mut parts = path.strip_prefix("/api/")?.splitn(3, '/');
        let parts = [(); 3].map(|()| parts.next());
        match parts {
            [Some("messagestatus"), Some("phonenumber"), Some(number)] => {
                Some(Self::ByDestination(params::destination(number)))
            }
            [Some("messagestatus"), Some("reference"), Some(key)] => {
                Some(Self::ByReference(params::reference_key(key)))
            }
            [Some("messagestatus"), Some("provider"), Some(names)]
                if names.find('/').is_some_and(|length| length > 0) =>
            {
                Some(Self::ByProviderId(params::provider_id(names)))
            }
            [Some("messagestatus"), Some(id), Some("history")] if !id.is_empty() => {
                Some(Self::History(params::message_id(id)))
            }
            [Some("messagestatus"), Some(id), None] if !id.is_empty() => {
                let id = params::message_id(id);
                Some(match Wait::parse(query) {
                    Some(wait) => Self::LongPoll(id, wait),
                    None => Self::Message(id),
                })
            }
            [Some("messages"), None, _] => Some(Self::Messages),
            [Some("messages.csv"), None, _] => Some(Self::Export),
            [Some("events"), None, _] => Some(Self::Events),
            [Some("messages"), Some(id), None] if !id.is_empty() => {
                Some(Self::Registration(params::message_id(id)))
            }
            _ => None,
        }
    }

    /// Route name, the path with placeholders, and subject of the request.
    pub(crate) fn about(&self) -> About {
        let of = |route| About { route, message: None, destination: None };
        let of_message = |route, id: &Parsed<MessageId>| About {
            message: id.as_ref().ok().copied(),
            ..of(route)
        };
        match self {
            Self::Message(id) => of_message("/api/messagestatus/{messageid}", id),
            // Separate, since a long poll takes as long as its client says.
            Self::LongPoll(id, _) => of_message("/api/messagestatus/{messageid}?wait", id),
            Self::History(id) => of_message("/api/messagestatus/{messageid}/history", id),
            Self::ByDestination(number) => About {
                destination: number.as_ref().ok().copied(),
                ..of("/api/messagestatus/phonenumber/{phonenumber}")
            },
            Self::ByReference(_) => of("/api/messagestatus/reference/{key}"),
            Self::ByProviderId(_) => of("/api/messagestatus/provider/{source}/{id}"),
            Self::Messages => of("/api/messages"),
            Self::Export => of("/api/messages.csv"),
            Self::Events => of("/api/events"),
            Self::Registration(id) => of_message("/api/messages/{messageid}", id),
        }
    }

    /// Methods that the route allows.
    pub(crate) fn allowed(&self) -> &'static [Method] {
        match self {
            Self::Message(_)
            | Self::LongPoll(..)
            | Self::History(_)
            | Self::ByDestination(_)
            | Self::ByReference(_)
            | Self::ByProviderId(_)
            | Self::Messages
            | Self::Export => &[Method::GET, Method::HEAD],
            // Not HEAD: the framework would read the stream to its end, which never comes.
            Self::Events => &[Method::GET],
            Self::Registration(_) => &[Method::PUT],
        }
    }
}
