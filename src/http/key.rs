//! API keys: named, scoped, and known only by their hash.

use std::sync::{PoisonError, RwLock};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::message::Timestamp;

/// What a key may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Queries.
    Read,
    /// Registrations.
    Register,
}

/// A key that an application presents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its name in the configuration.
    pub name: String,
    /// The hash of the key.
    pub sha256: [u8; 32],
    /// What it may be used for.
    pub scopes: Vec<Scope>,
    /// The last moment in which it may be used; none if there is no end.
    pub expires: Option<Timestamp>,
}

impl ApiKey {
    /// The key with this text; it never expires.
    pub fn new(name: &str, key: &str, scopes: Vec<Scope>) -> Self {
        Self { name: name.to_owned(), sha256: Sha256::digest(key).into(), scopes, expires: None }
    }

    /// Whether this is the key whose hash this is.
    fn matches(&self, digest: &[u8; 32]) -> bool {
        self.sha256.ct_eq(digest).into()
    }

    /// Whether its time is over.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| now > expires)
    }
}

/// The keys that hold now; they can be replaced at any time.
#[derive(Debug)]
pub struct ApiKeys(RwLock<Vec<ApiKey>>);

impl ApiKeys {
    /// These keys hold.
    pub fn new(keys: Vec<ApiKey>) -> Self {
        Self(RwLock::new(keys))
    }

    /// From now on these keys hold; returns those that did.
    pub fn replace(&self, keys: Vec<ApiKey>) -> Vec<ApiKey> {
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut held, keys)
    }

    /// The key with this text, expired or not. Every key is looked at, so that the time does not
    /// tell which one it was.
    pub fn find(&self, presented: &[u8]) -> Option<ApiKey> {
        // No configuration has an empty key; if one did, it would open to everybody.
        if presented.trim_ascii().is_empty() {
            return None;
        }
        let digest: [u8; 32] = Sha256::digest(presented).into();
        let held = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let found = held
            .iter()
            .fold(None, |found, key| if key.matches(&digest) { Some(key) } else { found });
        found.cloned()
    }
}
