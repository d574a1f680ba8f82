//! Quarantined entries and their ids.

use std::fmt;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::message::Timestamp;
use crate::payload::RawPayload;

/// Ids of a raw payload and of its entries. The payload is hashed once, however many entries it has.
#[derive(Clone)]
pub struct PayloadHash(Sha256);

impl PayloadHash {
    /// Hashes a raw payload from this source.
    pub fn of(source: &str, content: &RawPayload) -> Self {
        let mut hash = Sha256::new();
        let content_type = content.content_type.as_deref().unwrap_or_default();
        let texts = [source, &content.method, &content.query, content_type].map(str::as_bytes);
        for member in texts.into_iter().chain([content.body.as_slice()]) {
            hash.update(u64::try_from(member.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(member);
        }
        Self(hash)
    }

    /// Id of the payload.
    pub fn payload(&self) -> [u8; 16] {
        half(self.0.clone())
    }

    /// Id of an entry of the payload.
    pub fn entry(&self, index: u32) -> QuarantineId {
        QuarantineId(half(self.0.clone().chain_update(index.to_be_bytes())))
    }
}

fn half(hash: Sha256) -> [u8; 16] {
    let digest: [u8; 32] = hash.finalize().into();
    let mut half = [0; 16];
    for (to, from) in half.iter_mut().zip(digest) {
        *to = from;
    }
    half
}

/// Id of a quarantined entry: a hash of source, raw payload and the entry's index, so that the same entry is
/// kept once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct QuarantineId([u8; 16]);

impl QuarantineId {
    /// Id from its 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The id's 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Reads the hyphenated form.
    pub fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text).ok().map(|uuid| Self(uuid.into_bytes()))
    }
}

impl fmt::Display for QuarantineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_bytes(self.0).fmt(f)
    }
}

/// A quarantined entry.
#[derive(Debug, Clone)]
pub struct Quarantined {
    /// Place in the order in which entries came to quarantine.
    pub place: i64,
    /// The entry's id.
    pub id: QuarantineId,
    /// Name of the source that sent the payload.
    pub source: String,
    /// Index of the entry in the raw payload.
    pub entry: u32,
    /// Raw payload.
    pub content: RawPayload,
    /// Whether verification covered the URL on arrival; none for an entry received by a version that did not
    /// record it.
    pub url_covered: Option<bool>,
    /// Reason why the entry could not be interpreted.
    pub reason: String,
    /// First arrival.
    pub received_at: Timestamp,
    /// Number of times the entry arrived.
    pub times: u32,
}
