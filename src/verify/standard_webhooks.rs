//! `standard-webhooks`: the headers of the Standard Webhooks specification, version 1.0.0.
//!
//! Where the official libraries differ, the stricter reading applies: digits-only times, all three headers of
//! one prefix, nothing after a signature, and a key verifies only signatures of its own kind.

use ::hmac::{Hmac, Mac};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::Sha256;

use super::encoding::{from_base64, lenient_base64};
use super::hmac::{mac, matches_any, parse_digits};
use super::request::{Header, Place, Request};
use super::secret::{SchemeError, Secret};
use super::time_window::Window;
use super::verdict::{MAX_SIGNATURES, Unverified, Verified, first_verified};
use crate::message::Timestamp;

/// Header names of id, timestamp and signature, by prefix.
const HEADERS: [[&str; 3]; 2] = [
    ["webhook-id", "webhook-timestamp", "webhook-signature"],
    ["svix-id", "svix-timestamp", "svix-signature"],
];

/// Maximum number of public-key signatures in one request. Each key is tried on each of them, and each
/// attempt hashes the whole body; a sender that rotates its keys has two.
const MAX_PUBLIC_KEY_ATTEMPTS: usize = 4;

/// Scheme, ready to verify.
#[derive(Debug, Clone, PartialEq)]
pub struct StandardWebhooks(Vec<Key>);

#[derive(Debug, Clone, PartialEq)]
enum Key {
    Shared(Secret),
    Public(VerifyingKey),
}

impl StandardWebhooks {
    /// Builds the scheme with these keys: `whsec_` and base64, bare base64, or `whpk_` and base64.
    pub fn new(secrets: &[Secret]) -> Result<Self, SchemeError> {
        let key = |secret: &Secret| match secret.bytes().strip_prefix(b"whpk_") {
            None => from_base64(secret).map(Key::Shared),
            Some(text) => {
                let key = lenient_base64(text)
                    .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
                    .and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok());
                match key {
                    None => {
                        Err(SchemeError::new("secrets", "a whpk_ key is not an ed25519 public key"))
                    }
                    Some(key) if key.is_weak() => Err(SchemeError::new(
                        "secrets",
                        "a whpk_ key is an ed25519 key of small order, which lets anyone sign; use the \
                         key that the sender shows",
                    )),
                    Some(key) => Ok(Key::Public(key)),
                }
            }
        };
        secrets.iter().map(key).collect::<Result<_, _>>().map(Self)
    }

    /// Number of keys.
    pub fn secrets(&self) -> usize {
        self.0.len()
    }

    /// Verifies a request.
    pub fn verify(
        &self,
        request: &Request<'_>,
        window: Window,
        now: Timestamp,
    ) -> Result<Verified, Unverified> {
        let [id, time, signatures] = headers(request)?;
        let signed_at =
            str::from_utf8(time).ok().and_then(parse_digits).ok_or(Unverified::Wrong)?;
        let message = [id, b".", time, b".", request.body].concat();
        let items = signatures.split(|byte| *byte == b' ').take(MAX_SIGNATURES + 1);
        let items: Vec<&[u8]> = items.collect();
        if items.len() > MAX_SIGNATURES {
            return Err(Unverified::Wrong);
        }
        let of_kind = |kind: &[u8]| -> Vec<Vec<u8>> {
            let texts = items.iter().filter_map(|item| item.strip_prefix(kind));
            texts.filter_map(|text| STANDARD.decode(text).ok()).collect()
        };
        let (shared, public) = (of_kind(b"v1,"), of_kind(b"v1a,"));
        if public.len() > MAX_PUBLIC_KEY_ATTEMPTS {
            return Err(Unverified::Wrong);
        }
        let is_valid = |key: &Key| match key {
            Key::Shared(secret) => {
                matches_any(&mac::<Hmac<Sha256>>(secret.bytes(), &message), &shared)
            }
            Key::Public(key) => is_signed(key, &message, &public),
        };
        let places = self.0.iter().enumerate();
        let verified = first_verified(places.map(|(place, key)| is_valid(key).then_some(place)))?;
        window.judge(verified, signed_at, now)
    }

    /// Headers that authenticate a request, with the first shared key; `None` if all keys are public.
    pub(crate) fn sign(
        &self,
        request: &Request<'_>,
        id: &str,
        now: Timestamp,
    ) -> Option<Vec<(String, String)>> {
        let secret = self.0.iter().find_map(|key| match key {
            Key::Shared(secret) => Some(secret),
            Key::Public(_) => None,
        })?;
        let time = now.seconds().to_string();
        let message = [id.as_bytes(), b".", time.as_bytes(), b".", request.body].concat();
        let signature = mac::<Hmac<Sha256>>(secret.bytes(), &message).finalize().into_bytes();
        let signature = format!("v1,{}", STANDARD.encode(signature));
        let [names, ..] = HEADERS;
        let values = [id.to_owned(), time, signature];
        Some(names.map(str::to_owned).into_iter().zip(values).collect())
    }

    /// Variant of the scheme whose keys are the texts of its shared keys instead of their decoded bytes, as a
    /// sender uses them that does not decode its secret.
    pub(crate) fn with_text_keys(&self) -> Self {
        let texts = |key: &Key| match key {
            Key::Public(_) => Vec::new(),
            Key::Shared(secret) => {
                let text = STANDARD.encode(secret.bytes());
                let texts = [format!("whsec_{text}"), text];
                texts.map(|text| Key::Shared(Secret::new(&text))).to_vec()
            }
        };
        Self(self.0.iter().flat_map(texts).collect())
    }
}

/// Places in a request that hold what this scheme needs: the headers of the first prefix of which any is
/// present.
pub(crate) fn credential_places(request: &Request<'_>) -> Vec<Place> {
    let has_any =
        |names: &&[&str; 3]| names.iter().any(|name| request.headers.get(name) != Header::Absent);
    let [first, ..] = HEADERS;
    let names = HEADERS.iter().find(has_any).copied().unwrap_or(first);
    names.map(|name| Place::Header(name.to_owned())).to_vec()
}

/// Signed time, in seconds since 1970.
pub(crate) fn stated_time(request: &Request<'_>) -> Option<i64> {
    let [_, time, _] = headers(request).ok()?;
    parse_digits(str::from_utf8(time).ok()?)
}

/// Id, timestamp and signatures, all three under the first prefix of which any is present.
fn headers<'a>(request: &Request<'a>) -> Result<[&'a [u8]; 3], Unverified> {
    for names in HEADERS {
        let found = names.map(|name| request.headers.get(name));
        if found != [Header::Absent; 3] {
            let [id, time, signatures] = found;
            return Ok([id.required()?, time.required()?, signatures.required()?]);
        }
    }
    Err(Unverified::Missing)
}

/// Whether one of these signatures verifies with the key.
fn is_signed(key: &VerifyingKey, message: &[u8], signatures: &[Vec<u8>]) -> bool {
    signatures
        .iter()
        .filter_map(|bytes| Signature::from_slice(bytes).ok())
        .any(|signature| key.verify_strict(message, &signature).is_ok())
}
