//! API keys: named, scoped, and known only by their hash.

use std::sync::{PoisonError, RwLock};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::message::Timestamp;

/// Permission of an API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Run queries.
    Read,
    /// Register messages.
    Register,
}

/// API key of an application. Only its hash is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Name of the key in the configuration.
    pub name: String,
    /// SHA-256 of the key's text.
    pub sha256: [u8; 32],
    /// Permissions of the key.
    pub scopes: Vec<Scope>,
    /// Last moment at which the key is valid; `None`: it never expires.
    pub expires: Option<Timestamp>,
}

impl ApiKey {
    /// Creates a key from its text; the key never expires.
    pub fn new(name: &str, key: &str, scopes: Vec<Scope>) -> Self {
        Self { name: name.to_owned(), sha256: Sha256::digest(key).into(), scopes, expires: None }
    }

    /// Whether `digest` is the hash of this key. Compares in constant time.
    fn matches(&self, digest: &[u8; 32]) -> bool {
        self.sha256.ct_eq(digest).into()
    }

    /// Whether the key has expired at `now`.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| now > expires)
    }
}

/// API keys in effect; they can be replaced at any time.
#[derive(Debug)]
pub struct ApiKeys(RwLock<Vec<ApiKey>>);

impl ApiKeys {
    /// Creates the set with these keys.
    pub fn new(keys: Vec<ApiKey>) -> Self {
        Self(RwLock::new(keys))
    }

    /// Replaces the keys in effect and returns the previous ones.
    pub fn replace(&self, keys: Vec<ApiKey>) -> Vec<ApiKey> {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut current, keys)
    }

    /// Finds the key with this text, expired or not. Compares every key, so that the time does not tell which
    /// one matched.
    pub fn find(&self, presented: &[u8]) -> Option<ApiKey> {
        // No configuration has an empty key. If one did, it would let everybody in.
        if presented.trim_ascii().is_empty() {
            return None;
        }
        let digest: [u8; 32] = Sha256::digest(presented).into();
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let found = keys
            .iter()
            .fold(None, |found, key| if key.matches(&digest) { Some(key) } else { found });
        found.cloned()
    }
}
