//! Is it authentic? One scheme a source, several secrets each, everything in constant time.
//!
//! A proof is checked over the raw bytes of a request, before anything is parsed. What is wrong
//! with it is for the log; whoever sent it learns nothing.

pub(crate) mod encoding;
pub mod hmac;
pub mod otherwise;
pub mod signed_url;
pub mod standard_webhooks;

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use thiserror::Error;

use self::hmac::Hmac;
use self::standard_webhooks::StandardWebhooks;
use crate::message::Timestamp;

/// A time in seconds from here on (the year 5138) is one in milliseconds that was taken for seconds.
pub const MILLISECONDS_FROM: i64 = 100_000_000_000;

/// The most signatures that one request may have. A sender that rotates its keys has two, and no
/// standard names more than a few.
pub(crate) const MOST_SIGNATURES: usize = 32;

/// A request as it was received.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a str,
    /// The raw query; an empty one is not the same address as none.
    pub query: Option<&'a str>,
    /// The content type, if one was given.
    pub content_type: Option<&'a str>,
    /// The headers.
    pub headers: &'a dyn Headers,
    /// The body's bytes.
    pub body: &'a [u8],
}

impl Request<'_> {
    /// The query's parameters, decoded.
    pub fn parameters(&self) -> form_urlencoded::Parse<'_> {
        form_urlencoded::parse(self.query.unwrap_or_default().as_bytes())
    }
}

/// The headers of a request.
pub trait Headers {
    /// The header of this name, in any case.
    fn one(&self, name: &str) -> Header<'_>;
}

/// What a request has under a header's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header<'a> {
    /// Nothing.
    Absent,
    /// One line.
    One(&'a [u8]),
    /// Several lines, of which nobody can say which one counts.
    Several,
}

impl<'a> Header<'a> {
    /// The header's only line.
    pub fn required(self) -> Result<&'a [u8], Unproven> {
        match self {
            Self::Absent => Err(Unproven::Missing),
            Self::One(value) => Ok(value),
            Self::Several => Err(Unproven::Wrong),
        }
    }
}

/// Headers that were made, of a request that is signed as a sender does.
pub(crate) struct Made<'a>(pub(crate) &'a [(String, String)]);

impl Headers for Made<'_> {
    fn one(&self, wanted: &str) -> Header<'_> {
        let mut found = self.0.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        match (found.next(), found.next()) {
            (None, _) => Header::Absent,
            (Some((_, value)), None) => Header::One(value.as_bytes()),
            (Some(_), Some(_)) => Header::Several,
        }
    }
}

/// Where a request says something that its proof needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the header of this name.
    Header(String),
    /// In the query's parameter of this name.
    Parameter(String),
}

/// What proves that a request is authentic. Shown nowhere.
#[derive(Clone)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// The secret with this text.
    pub fn new(text: &str) -> Self {
        Self(text.as_bytes().into())
    }

    /// The secret's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the secret; takes as long for any text.
    pub fn equals(&self, presented: &[u8]) -> bool {
        Sha256::digest(&self.0).ct_eq(&Sha256::digest(presented)).into()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.equals(&other.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// How requests of a source prove that they are authentic.
#[derive(Debug, Clone, PartialEq)]
pub enum Scheme {
    /// `?token=` equals a secret.
    UrlToken(Vec<Secret>),
    /// `?signature=` is an HMAC over the callback URL's own parameters.
    SignedUrl(Vec<Secret>),
    /// A header is an HMAC of the body, or of a template.
    Hmac(Hmac),
    /// The headers of Standard Webhooks.
    StandardWebhooks(StandardWebhooks),
    /// The dialect's own signature.
    Native(Vec<Secret>),
    /// Whatever comes is taken at its word.
    None,
}

impl Scheme {
    /// Its name in the configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Self::UrlToken(_) => "url-token",
            Self::SignedUrl(_) => "signed-url",
            Self::Hmac(_) => "hmac",
            Self::StandardWebhooks(_) => "standard-webhooks",
            Self::Native(_) => "native",
            Self::None => "none",
        }
    }

    /// Whether the address alone proves a request, so that its body need not be read before.
    pub fn needs_only_url(&self) -> bool {
        match self {
            Self::UrlToken(_) | Self::SignedUrl(_) => true,
            Self::Hmac(_) | Self::StandardWebhooks(_) | Self::Native(_) | Self::None => false,
        }
    }

    /// How many secrets it has.
    pub fn secrets(&self) -> usize {
        match self {
            Self::UrlToken(secrets) | Self::SignedUrl(secrets) | Self::Native(secrets) => {
                secrets.len()
            }
            Self::Hmac(hmac) => hmac.secrets(),
            Self::StandardWebhooks(keys) => keys.secrets(),
            Self::None => 0,
        }
    }
}

/// How old and how far ahead a signed time may be; both ends are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The greatest age, in seconds.
    pub max_age_seconds: u32,
    /// The greatest lead, in seconds.
    pub max_skew_seconds: u32,
}

impl Default for Window {
    fn default() -> Self {
        Self { max_age_seconds: 14 * 24 * 60 * 60, max_skew_seconds: 300 }
    }
}

impl Window {
    /// Judges the time of a proof that is right otherwise.
    pub fn judge(
        self,
        proven: Verified,
        signed_at: i64,
        now: Timestamp,
    ) -> Result<Verified, Unproven> {
        let age = now.seconds().saturating_sub(signed_at);
        if age < -i64::from(self.max_skew_seconds) {
            return Err(Unproven::TooNew);
        }
        let too_old = age > i64::from(self.max_age_seconds);
        Ok(Verified { too_old, signed_at: Some(signed_at), ..proven })
    }
}

/// A request that is authentic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Its signed time is further back than is allowed: it may only repeat what is stored.
    pub too_old: bool,
    /// The first secret that fits, by its place in the configuration, from 0; none if there are none.
    pub secret: Option<usize>,
    /// Its signed time, in seconds since 1970; none if it has none.
    pub signed_at: Option<i64>,
    /// Its address is valid until a time that seems to be in milliseconds, and so for ever.
    pub expires_in_milliseconds: bool,
}

impl Verified {
    /// Taken at its word.
    pub const UNASKED: Self =
        Self { too_old: false, secret: None, signed_at: None, expires_in_milliseconds: false };

    /// Authentic by this secret, and of no or a recent time.
    pub fn by(secret: usize) -> Self {
        Self { secret: Some(secret), ..Self::UNASKED }
    }
}

/// Why a request is not proven to be authentic. For the log alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Unproven {
    /// There is no proof.
    #[error("no proof")]
    Missing,
    /// There is one, and it is wrong.
    #[error("a wrong proof")]
    Wrong,
    /// It is right, but no longer valid.
    #[error("an expired proof")]
    Expired,
    /// It is right, but of a time that is too far ahead.
    #[error("a proof from the future")]
    TooNew,
}

/// Why a scheme cannot be used as it is configured: the key, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{key}: {mend}")]
pub struct Unusable {
    /// The key of `verify` that is wrong.
    pub key: &'static str,
    /// What is wrong with it and how to mend it.
    pub mend: String,
}

impl Unusable {
    pub(crate) fn new(key: &'static str, mend: impl Into<String>) -> Self {
        Self { key, mend: mend.into() }
    }
}

/// Verifies `?token=`.
pub fn verify_token(secrets: &[Secret], request: &Request<'_>) -> Result<Verified, Unproven> {
    let mut tokens = request.parameters().filter(|(name, _)| name == "token");
    let token = match (tokens.next(), tokens.next()) {
        (None, _) => return Err(Unproven::Missing),
        (Some((_, token)), None) => token,
        (Some(_), Some(_)) => return Err(Unproven::Wrong),
    };
    let presented = Sha256::digest(token.as_bytes());
    any(secrets, |secret| Sha256::digest(secret.bytes()).ct_eq(&presented).into())
}

/// Whether any secret fits; all are tried, so that the time does not tell which one did.
pub fn any(secrets: &[Secret], fits: impl Fn(&Secret) -> bool) -> Result<Verified, Unproven> {
    let places = secrets.iter().enumerate();
    first_fitting(places.map(|(place, secret)| fits(secret).then_some(place)))
}

/// The first secret that fits, when all have been tried.
fn first_fitting(places: impl Iterator<Item = Option<usize>>) -> Result<Verified, Unproven> {
    places.fold(None, Option::or).map(Verified::by).ok_or(Unproven::Wrong)
}
