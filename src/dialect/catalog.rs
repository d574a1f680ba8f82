//! Catalog of all dialects.

use super::contract::Dialect;
use super::{gateway, twilio};

/// All dialects.
pub static ALL: &[&dyn Dialect] = &[&gateway::Gateway, &twilio::Twilio];

/// Finds the dialect of this name.
pub fn by_name(name: &str) -> Option<&'static dyn Dialect> {
    ALL.iter().copied().find(|dialect| dialect.name() == name)
}
