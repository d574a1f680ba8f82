//! Order and report of the checks.

use std::io::Write;

use super::report::Report;
use super::{files, reach};
use crate::cli::common::exit_code::Failure;
use crate::cli::common::output::Output;
use crate::cli::status::KEY_EXPIRY_SECONDS;
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
        let Some(expires) = key.expires else { continue };
        let label = format!("API key {}", key.name);
        let remedy = "create another key, give it to the application, and remove this key";
        if key.has_expired(now) {
            let detail = format!("expired {expires}; {remedy}");
            report.print(Found::Fail, &label, &detail)?;
        } else if expires.seconds() - now.seconds() < KEY_EXPIRY_SECONDS {
            report.print(Found::Warn, &label, &format!("expires {expires}; {remedy}"))?;
        } else {
            report.print(Found::Ok, &label, &format!("valid until {expires}"))?;
        }
    }
    Ok(())
}
