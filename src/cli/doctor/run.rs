//! Order and report of the checks.

use std::io::Write;

use super::report::Report;
use super::{files, reach};
use crate::cli::common::exit_code::Failure;
use crate::cli::common::key_expiry;
use crate::cli::common::output::Output;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::diagnosis::Found;

/// Runs all checks, prints the findings, and fails if any check failed.
pub(crate) fn run(config: &Config, output: Output, out: &mut impl Write) -> Result<(), Failure> {
    let mut report = Report::new(output, out);
    configuration(config, &mut report)?;
    keys(config, &mut report)?;
    files::check(config, &mut report)?;
    reach::check(config, &mut report)?;
    report.end()
}

fn configuration(config: &Config, report: &mut Report<'_>) -> Result<(), Failure> {
    let file = config
        .file
        .as_ref()
        .map_or_else(|| "no file".to_owned(), |file| file.display().to_string());
    let (sources, keys) = (config.sources.len(), config.api_keys.len());
    let detail = format!("valid; {file}, sources: {sources}, API keys: {keys}");
    report.print(Found::Ok, "configuration", &detail)?;
    // Warnings about keys and the database's permissions have checks of their own.
    let permissions = config::permissions_warning(&config.store.path);
    let is_reported_later = |warning: &&String| {
        warning.contains(".expires: ") || permissions.as_ref() == Some(*warning)
    };
    for warning in config.warnings.iter().filter(|warning| !is_reported_later(warning)) {
        report.print(Found::Warn, "configuration", warning)?;
    }
    Ok(())
}

fn keys(config: &Config, report: &mut Report<'_>) -> Result<(), Failure> {
    let now = Clock::System.now();
    for key in &config.api_keys {
        if let Some((found, detail)) = key_expiry::check(key, now) {
            report.print(found, &format!("API key {}", key.name), &detail)?;
        }
    }
    Ok(())
}
