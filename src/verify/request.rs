//! Request to verify, as far as a scheme may read it.

use super::verdict::Unverified;

/// Request as it was received.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Method.
    pub method: &'a str,
    /// Raw query; an empty query is not the same URL as none.
    pub query: Option<&'a str>,
    /// Content type, if given.
    pub content_type: Option<&'a str>,
    /// Headers.
    pub headers: &'a dyn Headers,
    /// Bytes of the body.
    pub body: &'a [u8],
}

impl Request<'_> {
    /// Decoded parameters of the query.
    pub fn parameters(&self) -> form_urlencoded::Parse<'_> {
        form_urlencoded::parse(self.query.unwrap_or_default().as_bytes())
    }
}

/// Headers of a request.
pub trait Headers {
    /// Looks up a header by name, ignoring case.
    fn get(&self, name: &str) -> Header<'_>;
}

/// Header value of a request, as found under one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header<'a> {
    /// No line of this name.
    Absent,
    /// Exactly one line.
    One(&'a [u8]),
    /// Several lines; it is ambiguous which one counts.
    Several,
}

impl<'a> Header<'a> {
    /// The header's only line; an error if it is absent or repeated.
    pub fn required(self) -> Result<&'a [u8], Unverified> {
        match self {
            Self::Absent => Err(Unverified::Missing),
            Self::One(value) => Ok(value),
            Self::Several => Err(Unverified::Wrong),
        }
    }
}

/// Headers generated for a request that is signed as a sender does.
pub(crate) struct GeneratedHeaders<'a>(pub(crate) &'a [(String, String)]);

impl Headers for GeneratedHeaders<'_> {
    fn get(&self, wanted: &str) -> Header<'_> {
        let mut found = self.0.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        match (found.next(), found.next()) {
            (None, _) => Header::Absent,
            (Some((_, value)), None) => Header::One(value.as_bytes()),
            (Some(_), Some(_)) => Header::Several,
        }
    }
}

/// Place in a request that holds a credential or a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Header of this name.
    Header(String),
    /// Query parameter of this name.
    Parameter(String),
}
