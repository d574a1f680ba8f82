//! Sources in effect; they can be replaced at any time.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::source::Source;
use crate::verify::Window;

/// Sources by name.
pub struct Sources(RwLock<HashMap<String, Arc<Source>>>);

impl Sources {
    /// Creates the registry with these sources.
    pub fn new(sources: Vec<Source>) -> Self {
        Self(RwLock::new(by_name(sources)))
    }

    /// Finds the source of this name. The returned source stays valid after a replacement.
    pub fn get(&self, name: &str) -> Option<Arc<Source>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).map(Arc::clone)
    }

    /// All sources.
    pub fn all(&self) -> Vec<Arc<Source>> {
        let sources = self.0.read().unwrap_or_else(PoisonError::into_inner);
        sources.values().map(Arc::clone).collect()
    }

    /// Maximum age of a delivery at any source, in seconds after it was first sent.
    pub fn max_age_seconds(&self) -> i64 {
        let ages = self.all().into_iter().map(|source| source.max_age_seconds());
        ages.max().unwrap_or(i64::from(Window::default().max_age_seconds))
    }

    /// Replaces all sources.
    pub fn replace(&self, sources: Vec<Source>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = by_name(sources);
    }
}

fn by_name(sources: Vec<Source>) -> HashMap<String, Arc<Source>> {
    sources.into_iter().map(|source| (source.name.clone(), Arc::new(source))).collect()
}
