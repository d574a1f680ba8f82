//! Raw payload: a webhook without its credentials.

/// Raw payload, with everything that a replay needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawPayload {
    /// The request's method.
    pub method: String,
    /// Raw query, without credentials.
    pub query: String,
    /// Content type, if given.
    pub content_type: Option<String>,
    /// Body.
    pub body: Vec<u8>,
}
