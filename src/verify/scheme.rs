//! Verification schemes, and their common code.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::hmac::Hmac;
use super::request::Request;
use super::secret::Secret;
use super::standard_webhooks::StandardWebhooks;
use super::verdict::{Unverified, Verified, find_secret};

/// Verification scheme of a source.
#[derive(Debug, Clone, PartialEq)]
pub enum Scheme {
    /// `?token=` equals a secret.
    UrlToken(Vec<Secret>),
    /// `?signature=` is an HMAC of the callback URL's own parameters.
    SignedUrl(Vec<Secret>),
    /// A header holds an HMAC of the body, or of a template.
    Hmac(Hmac),
    /// Headers of the Standard Webhooks specification.
    StandardWebhooks(StandardWebhooks),
    /// Signature of the dialect's own design.
    Native(Vec<Secret>),
    /// No verification: every request is accepted as authentic.
    None,
}

impl Scheme {
    /// Name of the scheme in the configuration.
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

    /// Whether the URL alone verifies a request, so that its body need not be read first.
    pub fn needs_only_url(&self) -> bool {
        match self {
            Self::UrlToken(_) | Self::SignedUrl(_) => true,
            Self::Hmac(_) | Self::StandardWebhooks(_) | Self::Native(_) | Self::None => false,
        }
    }

    /// Number of secrets.
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

/// Verifies `?token=`.
pub fn verify_token(secrets: &[Secret], request: &Request<'_>) -> Result<Verified, Unverified> {
    let mut tokens = request.parameters().filter(|(name, _)| name == "token");
    let token = match (tokens.next(), tokens.next()) {
        (None, _) => return Err(Unverified::Missing),
        (Some((_, token)), None) => token,
        (Some(_), Some(_)) => return Err(Unverified::Wrong),
    };
    let presented = Sha256::digest(token.as_bytes());
    find_secret(secrets, |secret| Sha256::digest(secret.bytes()).ct_eq(&presented).into())
}
