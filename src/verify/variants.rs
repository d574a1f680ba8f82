//! Diagnosis of a credential: its place, the time it states, and the scheme with other settings. None of this
//! runs while a request is judged.

pub use super::hmac::is_signature_header;
use super::request::{Place, Request};
use super::scheme::Scheme;
use super::secret::Secret;
use super::{hmac, signed_url, standard_webhooks};

impl Scheme {
    /// Places in a request that hold what this scheme needs. The places of a native signature are known to
    /// its dialect.
    pub fn credential_places(&self, request: &Request<'_>) -> Vec<Place> {
        match self {
            Self::UrlToken(_) => vec![Place::Parameter("token".to_owned())],
            Self::SignedUrl(_) => vec![Place::Parameter("signature".to_owned())],
            Self::Hmac(hmac) => hmac.credential_places(),
            Self::StandardWebhooks(_) => standard_webhooks::credential_places(request),
            Self::Native(_) | Self::None => Vec::new(),
        }
    }

    /// Time that a credential states, in seconds since 1970: its signing time, or the last second in which a
    /// signed URL is valid.
    pub fn stated_time(&self, request: &Request<'_>) -> Option<i64> {
        match self {
            Self::SignedUrl(_) => signed_url::expires(request.query.unwrap_or_default()),
            Self::Hmac(hmac) => hmac.stated_time(request),
            Self::StandardWebhooks(_) => standard_webhooks::stated_time(request),
            Self::UrlToken(_) | Self::Native(_) | Self::None => None,
        }
    }

    /// Other settings with which the request verifies, described in the words of the configuration; `names`
    /// are the names of all the request's headers.
    pub fn other_variants(
        &self,
        request: &Request<'_>,
        names: &[&str],
        verifies: &dyn Fn(Scheme) -> bool,
    ) -> Option<String> {
        let trimmed = |secrets: &[Secret]| -> Vec<Secret> {
            secrets.iter().map(|secret| Secret(secret.bytes().trim_ascii().into())).collect()
        };
        let bare = match self {
            Self::Hmac(hmac) => {
                return hmac.other_variants(request, names, &|hmac: hmac::Hmac| {
                    verifies(Self::Hmac(hmac))
                });
            }
            Self::StandardWebhooks(keys) => {
                return verifies(Self::StandardWebhooks(keys.with_text_keys())).then(|| {
                    "the sender uses the text of the secret as the key; the text after whsec_ is \
                     base64, and the key is the decoded text"
                        .to_owned()
                });
            }
            Self::UrlToken(secrets) => Self::UrlToken(trimmed(secrets)),
            Self::SignedUrl(secrets) => Self::SignedUrl(trimmed(secrets)),
            Self::Native(secrets) => Self::Native(trimmed(secrets)),
            Self::None => return None,
        };
        verifies(bare).then(|| "the configured secret has white space around it".to_owned())
    }
}
