//! Quarantined entries and their names.

use std::fmt;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::content::Content;
use crate::message::Timestamp;

/// The names of a raw payload and of its entries. The payload is hashed once, however many entries it has.
#[derive(Clone)]
pub struct PayloadHash(Sha256);

impl PayloadHash {
    /// Hashes a raw payload of this source.
    pub fn of(source: &str, content: &Content) -> Self {
        let mut hash = Sha256::new();
        let content_type = content.content_type.as_deref().unwrap_or_default();
        let texts = [source, &content.method, &content.query, content_type].map(str::as_bytes);
        for member in texts.into_iter().chain([content.body.as_slice()]) {
            hash.update(u64::try_from(member.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(member);
        }
        Self(hash)
    }

    /// The payload's own name.
    pub fn payload(&self) -> [u8; 16] {
        half(self.0.clone())
    }

    /// The name of this entry of the payload.
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

/// The name of a quarantined entry: a hash of source, raw payload and the entry's place in it, so that
/// the same entry is kept once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct QuarantineId([u8; 16]);

impl QuarantineId {
    /// The name whose sixteen bytes these are.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The name's sixteen bytes.
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
    /// Its place in the order in which entries came to quarantine.
    pub place: i64,
    /// Its name.
    pub id: QuarantineId,
    /// Which source posted it.
    pub source: String,
    /// Which entry of the content it is.
    pub entry: u32,
    /// What was posted.
    pub content: Content,
    /// Whether verification covered the URL when it arrived; none if a version received it that did not
    /// record that.
    pub url_covered: Option<bool>,
    /// What could not be understood.
    pub reason: String,
    /// When it first arrived.
    pub received_at: Timestamp,
    /// How often it came.
    pub times: u32,
}
