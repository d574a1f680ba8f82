//! `statusmirror print-config`: what holds, and because of what.

use std::io::Write;

use super::Failure;
use crate::config::{Config, Setting};

/// Prints every setting as a line of a configuration file, with where it comes from behind it.
pub(super) fn run(config: &Config, out: &mut impl Write) -> Result<(), Failure> {
    for Setting { key, value, origin } in &config.settings {
        let origin = origin.as_deref().unwrap_or("default");
        writeln!(out, "{key} = {value}  # {origin}")?;
    }
    Ok(())
}
