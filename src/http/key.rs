//! API keys: named, scoped, and known only by their hash.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// What a key may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Queries.
    Read,
    /// Registrations.
    Register,
}

/// A key that an application presents.
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// Its name in the configuration.
    pub name: String,
    /// The hash of the key.
    pub sha256: [u8; 32],
    /// What it may be used for.
    pub scopes: Vec<Scope>,
}

impl ApiKey {
    /// The key with this text.
    pub fn new(name: &str, key: &str, scopes: Vec<Scope>) -> Self {
        Self { name: name.to_owned(), sha256: Sha256::digest(key).into(), scopes }
    }

    /// Whether this is the key.
    pub fn matches(&self, presented: &[u8]) -> bool {
        let digest: [u8; 32] = Sha256::digest(presented).into();
        self.sha256.ct_eq(&digest).into()
    }
}
