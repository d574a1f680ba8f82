//! Error responses: status code, and a text that says what to do.
//!
//! This is the only place that maps a rejection to a status code. Store errors that an operator must see are
//! logged here, once.

use std::fmt;
use std::time::Duration;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;

use crate::ingest::Rejection;
use crate::message::MAX_NOTIFICATIONS;
use crate::store::{Cause, StoreError};

/// Value of `Retry-After` for 503 responses, in seconds.
const RETRY_AFTER_SECONDS: &str = "5";

/// Error as the client sees it.
#[derive(Debug)]
pub(crate) enum Problem {
    /// No such route (404).
    NoRoute,
    /// The route does not support the method (405).
    Method { allowed: String },
    /// No webhook source of that name (404).
    UnknownSource,
    /// No API key, or an unknown or expired one (403).
    NoKey,
    /// The key lacks the scope (403).
    Scope { needed: &'static str },
    /// Too many requests without a valid API key from this client address (429).
    TooManyAttempts { wait: Duration },
    /// Unknown message (404).
    UnknownMessage,
    /// Invalid request (400); the text says what is wrong.
    BadRequest(String),
    /// Failed verification of a webhook (401). The response is the same for every cause.
    Unverified,
    /// Verified webhook that is not in its dialect's encoding (400).
    NotEncoded(String),
    /// Body that the source's verification scheme cannot read (415).
    ContentType(&'static str),
    /// Body longer than `max_bytes` bytes (413).
    TooLarge { max_bytes: usize },
    /// The message already has the maximum number of notifications (409).
    TooMany,
    /// The message was erased (409).
    Erased,
    /// Temporary failure (503); the client should retry.
    Unavailable(&'static str),
    /// Database error (503); nothing was stored.
    StoreFailed(Cause),
    /// Corrupt data in the store (500).
    Corrupt(Cause),
    /// Request that could not be parsed as HTTP, with the status of the response.
    Protocol(StatusCode),
}

/// Problem details object (RFC 9457).
#[derive(Serialize)]
pub(crate) struct Body<'a> {
    /// `about:blank`: the status says what kind of error it is.
    r#type: &'static str,
    /// Reason phrase of the status.
    title: &'static str,
    /// Status code.
    status: u16,
    /// Explanation: the fault, and the remedy.
    detail: &'a str,
}

impl Problem {
    /// Status code of the response.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::NoRoute | Self::UnknownSource | Self::UnknownMessage => StatusCode::NOT_FOUND,
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoKey | Self::Scope { .. } => StatusCode::FORBIDDEN,
            Self::TooManyAttempts { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::BadRequest(_) | Self::NotEncoded(_) => StatusCode::BAD_REQUEST,
            Self::Unverified => StatusCode::UNAUTHORIZED,
            Self::ContentType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooMany | Self::Erased => StatusCode::CONFLICT,
            Self::Unavailable(_) | Self::StoreFailed(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Corrupt(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Protocol(status) => *status,
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::NoRoute => {
                "No such route. The status page is at /, queries are under /api/messagestatus, and webhooks \
                 go to /webhooks/{source}. With `server.internal_listen` set, the page and the queries are \
                 served only on that address."
                    .to_owned()
            }
            Self::Method { allowed } => format!("Method not allowed; use {allowed}."),
            Self::UnknownSource => {
                "No source of this name is configured. Check the [sources] of the configuration, \
                 and the URL that the sender calls."
                    .to_owned()
            }
            Self::NoKey => "Send a valid API key in the header X-Api-Key.".to_owned(),
            Self::Scope { needed } => format!(
                "This API key lacks the scope `{needed}`. Scopes do not imply \
                 one another; add it to the key's `scopes`."
            ),
            Self::TooManyAttempts { wait } => format!(
                "Too many requests without a valid API key came from this address. Wait for {} s, \
                 and send a valid key in the header X-Api-Key.",
                seconds(*wait)
            ),
            Self::UnknownMessage => {
                "Unknown message. A message is known after its first webhook or its registration."
                    .to_owned()
            }
            Self::BadRequest(detail) => detail.clone(),
            Self::Unverified => "Verification failed: the credential is missing, wrong or expired. See \
                `verify` of the source in the configuration."
                .to_owned(),
            Self::NotEncoded(reason) => format!(
                "The request is authentic, but unreadable: {reason}. It is kept in quarantine."
            ),
            Self::TooLarge { max_bytes } => format!("The body may have at most {max_bytes} bytes."),
            Self::TooMany => {
                format!("The message has {MAX_NOTIFICATIONS} notifications, the maximum.")
            }
            Self::Erased => "The message was erased, and its id is blocked for as long as a retry could \
                restore it. Register a new message under a new id."
                .to_owned(),
            Self::ContentType(detail) | Self::Unavailable(detail) => (*detail).to_owned(),
            Self::StoreFailed(_) => "Database error. Nothing was stored; try again.".to_owned(),
            Self::Corrupt(_) => "Corrupt data in the database; see the log.".to_owned(),
            Self::Protocol(StatusCode::REQUEST_TIMEOUT) => {
                "The request's headers arrived too slowly. Send the request again.".to_owned()
            }
            Self::Protocol(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE) => {
                "The request's headers are too large, or too many. Send fewer.".to_owned()
            }
            Self::Protocol(_) => "Malformed HTTP/1.1 request. Check the request line, the headers and the \
                framing of the body; percent-encode characters outside ASCII in the path."
                .to_owned(),
        }
    }

    /// Response body: problem details (RFC 9457).
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

    /// Creates the response. Errors that an operator must see are logged with it.
    pub(crate) fn response(&self) -> HttpResponse {
        if let Self::StoreFailed(cause) = self {
            tracing::error!(%cause, "database error; nothing was stored");
        }
        if let Self::Corrupt(cause) = self {
            tracing::error!(%cause, "corrupt row in the database");
        }
        let status = self.status();
        let mut response = HttpResponse::build(status);
        response.content_type("application/problem+json");
        // Otherwise a cache could keep a 404 or 405 for others, or for later.
        response.insert_header((header::CACHE_CONTROL, "no-store"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.insert_header((header::RETRY_AFTER, RETRY_AFTER_SECONDS));
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

/// Wait in whole seconds, rounded up.
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
            StoreError::Overloaded => Self::Unavailable("The store is overloaded. Try again."),
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
            StoreError::Failed(cause) => Self::StoreFailed(cause),
            StoreError::Corrupt(cause) => Self::Corrupt(cause),
        }
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::Overloaded => {
                Self::Unavailable("Too many requests are in flight. Try again.")
            }
            Rejection::Rate => Self::Unavailable(
                "This source has sent more webhooks than its `max_rate` allows. Nothing was stored; \
                 try again.",
            ),
            Rejection::Closing => Self::Unavailable("The service is shutting down. Try again."),
            Rejection::Unverified(_) | Rejection::TooOld => Self::Unverified,
            Rejection::NotEncoded(reason) => Self::NotEncoded(reason),
            Rejection::Slow => Self::Unavailable(
                "The commit takes too long, and may still complete. Try again to be sure.",
            ),
            Rejection::Store(error) => error.into(),
        }
    }
}
