//! What a diagnosis tells of a proof, and tries: where it is, which time it states, and the scheme
//! with other settings. Nothing here is asked while a request is judged.

pub use super::hmac::is_of_signature;
use super::{Place, Request, Scheme, Secret, hmac, signed_url, standard_webhooks};

impl Scheme {
    /// Where a request says what this scheme needs; the dialect knows it of its own signature.
    pub fn places(&self, request: &Request<'_>) -> Vec<Place> {
        match self {
            Self::UrlToken(_) => vec![Place::Parameter("token".to_owned())],
            Self::SignedUrl(_) => vec![Place::Parameter("signature".to_owned())],
            Self::Hmac(hmac) => hmac.places(),
            Self::StandardWebhooks(_) => standard_webhooks::places(request),
            Self::Native(_) | Self::None => Vec::new(),
        }
    }

    /// The time that a proof states, in seconds since 1970: when it was made, or the last second in
    /// which an address is valid.
    pub fn stated_time(&self, request: &Request<'_>) -> Option<i64> {
        match self {
            Self::SignedUrl(_) => signed_url::expires(request.query.unwrap_or_default()),
            Self::Hmac(hmac) => hmac.stated_time(request),
            Self::StandardWebhooks(_) => standard_webhooks::stated_time(request),
            Self::UrlToken(_) | Self::Native(_) | Self::None => None,
        }
    }

    /// With which other settings a proof fits, in the words of the configuration; `names` are those
    /// of all the request's headers.
    pub fn otherwise(
        &self,
        request: &Request<'_>,
        names: &[&str],
        fits: &dyn Fn(Scheme) -> bool,
    ) -> Option<String> {
        let trimmed = |secrets: &[Secret]| -> Vec<Secret> {
            secrets.iter().map(|secret| Secret(secret.bytes().trim_ascii().into())).collect()
        };
        let bare = match self {
            Self::Hmac(hmac) => {
                return hmac.otherwise(request, names, &|hmac: hmac::Hmac| fits(Self::Hmac(hmac)));
            }
            Self::StandardWebhooks(keys) => {
                return fits(Self::StandardWebhooks(keys.of_texts())).then(|| {
                    "the sender takes the text of the secret for the key; what follows whsec_ is \
                     base64, and the key is what it decodes to"
                        .to_owned()
                });
            }
            Self::UrlToken(secrets) => Self::UrlToken(trimmed(secrets)),
            Self::SignedUrl(secrets) => Self::SignedUrl(trimmed(secrets)),
            Self::Native(secrets) => Self::Native(trimmed(secrets)),
            Self::None => return None,
        };
        fits(bare).then(|| "the configured secret has white space around it".to_owned())
    }
}
