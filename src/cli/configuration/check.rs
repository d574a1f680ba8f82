//! `statusmirror check-config`: validates the configuration and prints a summary with its warnings.

use std::io::Write;

use crate::cli::common::exit_code::{EX_CONFIG, Failure};
use crate::config::Config;

/// Prints a summary of the configuration, which is valid if it could be read at all. With `strict`, a warning is
/// an error.
pub(crate) fn run(config: &Config, strict: bool, out: &mut impl Write) -> Result<(), Failure> {
    config.require_settings()?;
    writeln!(out, "The configuration is valid.")?;
    match &config.file {
        Some(file) => writeln!(out, "file:     {}", file.display())?,
        None => writeln!(out, "file:     none; defaults and environment variables apply")?,
    }
    writeln!(out, "listen:   {}", config.server.listen)?;
    if let Some(listen) = &config.server.internal_listen {
        writeln!(out, "internal: {listen}")?;
    }
    writeln!(out, "database: {}", config.written_database.display())?;
    if config.written_database.is_relative() {
        writeln!(out, "          in this working directory: {}", config.store.path.display())?;
    }
    for source in &config.sources {
        let (name, dialect) = (&source.name, source.dialect.name());
        writeln!(out, "source:   {name} ({dialect}, {})", source.scheme.name())?;
    }
    for key in &config.api_keys {
        match key.expires {
            Some(expires) => writeln!(out, "API key:  {} (until {expires})", key.name)?,
            None => writeln!(out, "API key:  {}", key.name)?,
        }
    }
    for warning in &config.warnings {
        writeln!(out, "warning:  {warning}")?;
    }
    if strict && !config.warnings.is_empty() {
        let warnings = if config.warnings.len() == 1 { "warning" } else { "warnings" };
        let count = config.warnings.len();
        let message = format!("{count} {warnings}; with --strict, warnings are errors");
        return Err(Failure::new(EX_CONFIG, message));
    }
    Ok(())
}
