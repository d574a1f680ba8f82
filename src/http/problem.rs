//! Every error a client can meet: its status, and words that say what to do.
//!
//! The only place that turns a refusal into a status code. What of the store's errors an operator
//! must see is logged here, once.

use std::fmt;
use std::time::Duration;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;

use crate::ingest::Refusal;
use crate::message::MAX_NOTIFICATIONS;
use crate::store::{Cause, StoreError};

/// How long a sender is asked to wait before it comes again, in seconds.
const RETRY_AFTER: &str = "5";

/// What went wrong, from the client's point of view.
#[derive(Debug)]
pub(crate) enum Problem {
    /// No such route.
    NoRoute,
    /// The route does not know the method.
    Method { allowed: String },
    /// No webhook source of that name.
    UnknownSource,
    /// No API key, or none of ours.
    NoKey,
    /// The key may not do this.
    Scope { needed: &'static str },
    /// Too many requests came from there without a valid API key.
    TooManyAttempts { wait: Duration },
    /// Nothing is known of the message.
    UnknownMessage,
    /// Something in the request is not as it must be.
    BadRequest(String),
    /// The webhook is not proven to be authentic. The same for every cause.
    Unproven,
    /// The webhook is authentic, but not in its dialect's encoding.
    NotEncoded(String),
    /// The proof cannot read such a body.
    ContentType(&'static str),
    /// The body is too large.
    TooLarge { most: usize },
    /// The message has as many notifications as it may have.
    TooMany,
    /// The message was erased.
    Erased,
    /// Come again.
    Unavailable(&'static str),
    /// The store did not do it, for this reason.
    Refused(Cause),
    /// The stored data makes no sense, for this reason.
    Corrupt(Cause),
    /// What came is not a request that could be read.
    Protocol(StatusCode),
}

/// An error, as RFC 9457 has it.
#[derive(Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema), schema(as = Problem))]
pub(crate) struct Body<'a> {
    /// `about:blank`: the status says what kind of error it is.
    r#type: &'static str,
    /// The status in words.
    title: &'static str,
    /// The status.
    #[cfg_attr(test, schema(minimum = 400, maximum = 599))]
    status: u16,
    /// What went wrong, and what to do.
    detail: &'a str,
}

impl Problem {
    /// The status of the answer.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::NoRoute | Self::UnknownSource | Self::UnknownMessage => StatusCode::NOT_FOUND,
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoKey | Self::Scope { .. } => StatusCode::FORBIDDEN,
            Self::TooManyAttempts { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::BadRequest(_) | Self::NotEncoded(_) => StatusCode::BAD_REQUEST,
            Self::Unproven => StatusCode::UNAUTHORIZED,
            Self::ContentType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooMany | Self::Erased => StatusCode::CONFLICT,
            Self::Unavailable(_) | Self::Refused(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Corrupt(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Protocol(status) => *status,
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::NoRoute => {
                "There is nothing here. The page for people is /, queries are under \
                 /api/messagestatus, webhooks go to /webhooks/{source}; with `server.internal_listen` each has an address of \
                 its own."
                    .to_owned()
            }
            Self::Method { allowed } => format!("That is not possible here; use {allowed}."),
            Self::UnknownSource => {
                "No source of this name is configured. Look at the [sources] of \
                 the configuration, or at the URL that was given to the sender."
                    .to_owned()
            }
            Self::NoKey => "Send a valid API key in the header X-Api-Key.".to_owned(),
            Self::Scope { needed } => format!(
                "This API key may not do this: it needs the scope `{needed}`. Scopes do not imply \
                 one another; add it to the key's `scopes`."
            ),
            Self::TooManyAttempts { wait } => format!(
                "Too many requests without a valid API key came from this address. Wait for {} s, \
                 and send a valid key in the header X-Api-Key.",
                seconds(*wait)
            ),
            Self::UnknownMessage => {
                "Nothing is known of this message. A message is known from its \
                 first webhook or its registration on."
                    .to_owned()
            }
            Self::BadRequest(detail) => detail.clone(),
            Self::Unproven => "The request does not prove that it comes from this source. See \
                 `verify` of the source in the configuration."
                .to_owned(),
            Self::NotEncoded(reason) => format!(
                "The request is authentic, but could not be read: {reason}. It is kept in \
                 quarantine."
            ),
            Self::TooLarge { most } => format!("The body may have at most {most} bytes."),
            Self::TooMany => {
                format!("The message has {MAX_NOTIFICATIONS} notifications, the most it may have.")
            }
            Self::Erased => "The message was erased. It is not kept again for as long as a retry \
                 could bring it back; register the next message under an id of its own."
                .to_owned(),
            Self::ContentType(detail) | Self::Unavailable(detail) => (*detail).to_owned(),
            Self::Refused(_) => "The store refused. Nothing was stored; try again.".to_owned(),
            Self::Corrupt(_) => "The stored data makes no sense; see the log.".to_owned(),
            Self::Protocol(StatusCode::REQUEST_TIMEOUT) => {
                "The request's headers came too slowly. Send it again.".to_owned()
            }
            Self::Protocol(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE) => {
                "The request's headers are too large, or too many. Send fewer.".to_owned()
            }
            Self::Protocol(_) => "This is no HTTP/1.1 request: look at its first line, its headers \
                 and how its body is framed; other letters than ASCII are percent-encoded in a path."
                .to_owned(),
        }
    }

    /// The body of the answer, as RFC 9457 has it.
    pub(crate) fn body(&self) -> String {
        let status = self.status();
        let body = Body {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: &self.detail(),
        };
        serde_json::to_string(&body).unwrap_or_default()
    }

    /// The answer that says so. What an operator must see of it is logged with it.
    pub(crate) fn response(&self) -> HttpResponse {
        if let Self::Refused(cause) = self {
            tracing::error!(%cause, "the store refused");
        }
        if let Self::Corrupt(cause) = self {
            tracing::error!(%cause, "a stored row makes no sense");
        }
        let status = self.status();
        let mut response = HttpResponse::build(status);
        response.content_type("application/problem+json");
        // A cache could otherwise keep a 404 or 405 for others, or for later.
        response.insert_header((header::CACHE_CONTROL, "no-store"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.insert_header((header::RETRY_AFTER, RETRY_AFTER));
        }
        if let Self::TooManyAttempts { wait } = self {
            response.insert_header((header::RETRY_AFTER, seconds(*wait)));
        }
        if let Self::Method { allowed } = self {
            response.insert_header((header::ALLOW, allowed.as_str()));
        }
        response.body(self.body())
    }
}

/// Whole seconds, rounded up.
fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail())
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status()
    }

    fn error_response(&self) -> HttpResponse {
        self.response()
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Overloaded => {
                Self::Unavailable("Too much is waiting to be done. Try again.")
            }
            StoreError::Locked(_) => {
                Self::Unavailable("The database is locked. Nothing was stored; try again.")
            }
            StoreError::TooSlow => {
                Self::Unavailable("The query takes too long. Try again, or ask for less.")
            }
            StoreError::DiskFull(_) => {
                Self::Unavailable("The disk is full. Nothing was stored; try again.")
            }
            StoreError::QuarantineFull => Self::Unavailable(
                "An entry of the delivery could not be interpreted and the quarantine is full. The \
                 rest of the delivery is stored; try again.",
            ),
            StoreError::Stopped => {
                Self::Unavailable("The store has stopped. Nothing was stored; try again.")
            }
            StoreError::Refused(cause) => Self::Refused(cause),
            StoreError::Corrupt(cause) => Self::Corrupt(cause),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Overloaded => Self::Unavailable("Too many requests are under way. Try again."),
            Refusal::Rate => Self::Unavailable(
                "This source has sent more webhooks than its `max_rate` allows. Nothing was stored; \
                 try again.",
            ),
            Refusal::Closing => Self::Unavailable("The service is shutting down. Try again."),
            Refusal::Unproven(_) | Refusal::TooOld => Self::Unproven,
            Refusal::NotEncoded(reason) => Self::NotEncoded(reason),
            Refusal::Slow => Self::Unavailable(
                "Storing takes too long. It may still happen; try again to be sure.",
            ),
            Refusal::Store(error) => error.into(),
        }
    }
}
