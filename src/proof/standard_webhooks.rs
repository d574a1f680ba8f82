//! `standard-webhooks`: the headers of the Standard Webhooks specification, version 1.0.0.
//!
//! Where the official libraries differ, the stricter reading is taken: digits-only times, all three
//! headers of one prefix, nothing behind a signature, and a key only verifies its own kind.

use ::hmac::{Hmac, Mac};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::Sha256;

use super::encoding::{from_base64, lenient};
use super::hmac::{digits, is_any, mac};
use super::{
    Header, MOST_SIGNATURES, Place, Request, Secret, Unproven, Unusable, Verified, Window,
    first_fitting,
};
use crate::message::Timestamp;

/// The names of id, timestamp and signature, by prefix.
const HEADERS: [[&str; 3]; 2] = [
    ["webhook-id", "webhook-timestamp", "webhook-signature"],
    ["svix-id", "svix-timestamp", "svix-signature"],
];

/// The most signatures by a public key that one request may have. Each key is tried on each of them,
/// and each time the whole body is hashed; a sender that rotates its keys has two.
const MOST_BY_PUBLIC_KEYS: usize = 4;

/// The scheme, ready to verify.
#[derive(Debug, Clone, PartialEq)]
pub struct StandardWebhooks(Vec<Key>);

#[derive(Debug, Clone, PartialEq)]
enum Key {
    Shared(Secret),
    Public(VerifyingKey),
}

impl StandardWebhooks {
    /// The scheme with these keys: `whsec_` and base64, bare base64, or `whpk_` and base64.
    pub fn new(secrets: &[Secret]) -> Result<Self, Unusable> {
        let key = |secret: &Secret| match secret.bytes().strip_prefix(b"whpk_") {
            None => from_base64(secret).map(Key::Shared),
            Some(text) => {
                let key = lenient(text)
                    .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
                    .and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok());
                match key {
                    None => Err(Unusable::new("secrets", "a whpk_ key is no ed25519 public key")),
                    Some(key) if key.is_weak() => Err(Unusable::new(
                        "secrets",
                        "a whpk_ key is an ed25519 key of small order, under which anybody could \
                         sign; take the key that the sender shows",
                    )),
                    Some(key) => Ok(Key::Public(key)),
                }
            }
        };
        secrets.iter().map(key).collect::<Result<_, _>>().map(Self)
    }

    /// How many keys there are.
    pub fn secrets(&self) -> usize {
        self.0.len()
    }

    /// Verifies a request.
    pub fn verify(
        &self,
        request: &Request<'_>,
        window: Window,
        now: Timestamp,
    ) -> Result<Verified, Unproven> {
        let [id, time, signatures] = headers(request)?;
        let signed_at = str::from_utf8(time).ok().and_then(digits).ok_or(Unproven::Wrong)?;
        let message = [id, b".", time, b".", request.body].concat();
        let items = signatures.split(|byte| *byte == b' ').take(MOST_SIGNATURES + 1);
        let items: Vec<&[u8]> = items.collect();
        if items.len() > MOST_SIGNATURES {
            return Err(Unproven::Wrong);
        }
        let of_kind = |kind: &[u8]| -> Vec<Vec<u8>> {
            let texts = items.iter().filter_map(|item| item.strip_prefix(kind));
            texts.filter_map(|text| STANDARD.decode(text).ok()).collect()
        };
        let (shared, public) = (of_kind(b"v1,"), of_kind(b"v1a,"));
        if public.len() > MOST_BY_PUBLIC_KEYS {
            return Err(Unproven::Wrong);
        }
        let fits = |key: &Key| match key {
            Key::Shared(secret) => is_any(&mac::<Hmac<Sha256>>(secret.bytes(), &message), &shared),
            Key::Public(key) => is_signed(key, &message, &public),
        };
        let places = self.0.iter().enumerate();
        let proven = first_fitting(places.map(|(place, key)| fits(key).then_some(place)))?;
        window.judge(proven, signed_at, now)
    }

    /// The headers that prove a request, with the first shared key; none if all are public.
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

    /// The scheme whose keys are the texts of its shared keys, instead of what they decode to: what a
    /// sender makes of them that does not decode.
    pub(crate) fn of_texts(&self) -> Self {
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

/// Where a request says what is needed: under the first prefix of which it has any.
pub(crate) fn places(request: &Request<'_>) -> Vec<Place> {
    let has_any =
        |names: &&[&str; 3]| names.iter().any(|name| request.headers.one(name) != Header::Absent);
    let [first, ..] = HEADERS;
    let names = HEADERS.iter().find(has_any).copied().unwrap_or(first);
    names.map(|name| Place::Header(name.to_owned())).to_vec()
}

/// The signed time, in seconds since 1970.
pub(crate) fn stated_time(request: &Request<'_>) -> Option<i64> {
    let [_, time, _] = headers(request).ok()?;
    digits(str::from_utf8(time).ok()?)
}

/// Id, timestamp and signatures, all three of the first prefix of which there is any.
fn headers<'a>(request: &Request<'a>) -> Result<[&'a [u8]; 3], Unproven> {
    for names in HEADERS {
        let found = names.map(|name| request.headers.one(name));
        if found != [Header::Absent; 3] {
            let [id, time, signatures] = found;
            return Ok([id.required()?, time.required()?, signatures.required()?]);
        }
    }
    Err(Unproven::Missing)
}

/// Whether one of these signatures is the key's.
fn is_signed(key: &VerifyingKey, message: &[u8], signatures: &[Vec<u8>]) -> bool {
    signatures
        .iter()
        .filter_map(|bytes| Signature::from_slice(bytes).ok())
        .any(|signature| key.verify_strict(message, &signature).is_ok())
}
