//! What was posted, without what proved that it is authentic.

/// What was posted, as far as a second reading needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The request's method.
    pub method: String,
    /// The raw query, without what proves authenticity.
    pub query: String,
    /// The content type, if one was given.
    pub content_type: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}
