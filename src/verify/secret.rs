//! Secrets, compared in constant time.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use thiserror::Error;

/// Secret that verifies a request. Never displayed.
#[derive(Clone)]
pub struct Secret(pub(crate) Box<[u8]>);

impl Secret {
    /// Creates a secret from its text.
    pub fn new(text: &str) -> Self {
        Self(text.as_bytes().into())
    }

    /// Bytes of the secret.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether the presented bytes equal this secret; takes the same time whether or not they match.
    pub fn equals(&self, presented: &[u8]) -> bool {
        Sha256::digest(&self.0).ct_eq(&Sha256::digest(presented)).into()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.equals(&other.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Error: a scheme cannot be used as configured. Holds the key, and how to fix it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{key}: {remedy}")]
pub struct SchemeError {
    /// Key under `verify` that is wrong.
    pub key: &'static str,
    /// Problem, and how to fix it.
    pub remedy: String,
}

impl SchemeError {
    pub(crate) fn new(key: &'static str, remedy: impl Into<String>) -> Self {
        Self { key, remedy: remedy.into() }
    }
}
