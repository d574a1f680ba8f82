//! The sources that are configured now; they can be replaced at any time.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::Source;
use crate::proof::Window;

/// Sources by their names.
pub struct Sources(RwLock<HashMap<String, Arc<Source>>>);

impl Sources {
    /// These sources.
    pub fn new(sources: Vec<Source>) -> Self {
        Self(RwLock::new(by_name(sources)))
    }

    /// The source of this name. Whoever has it keeps it, also when it is replaced.
    pub fn get(&self, name: &str) -> Option<Arc<Source>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).map(Arc::clone)
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Source>> {
        let held = self.0.read().unwrap_or_else(PoisonError::into_inner);
        held.values().map(Arc::clone).collect()
    }

    /// How long after it was first sent something may still come, in seconds.
    pub fn max_age_seconds(&self) -> i64 {
        let ages = self.all().into_iter().map(|source| source.max_age_seconds());
        ages.max().unwrap_or(i64::from(Window::default().max_age_seconds))
    }

    /// From now on there are these.
    pub fn replace(&self, sources: Vec<Source>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = by_name(sources);
    }
}

fn by_name(sources: Vec<Source>) -> HashMap<String, Arc<Source>> {
    sources.into_iter().map(|source| (source.name.clone(), Arc::new(source))).collect()
}
