//! `statusmirror print-config`: settings in effect, with their origins.

use std::io::Write;

use crate::cli::common::exit_code::Failure;
use crate::config::{Config, Setting};

/// Prints every setting as a line of a configuration file, followed by its origin as a comment.
pub(crate) fn run(config: &Config, out: &mut impl Write) -> Result<(), Failure> {
    for Setting { key, value, origin } in &config.settings {
        let origin = origin.as_deref().unwrap_or("default");
        writeln!(out, "{key} = {value}  # {origin}")?;
    }
    Ok(())
}
