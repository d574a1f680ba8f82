//! `statusmirror verify`: explains why a webhook is rejected.

use std::fs;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::callback_url::source;
use crate::cli::common::exit_code::{EX_DATAERR, EX_NOINPUT, EX_USAGE, Failure};
use crate::cli::common::output::{Output, Report};
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::diagnosis::{CapturedRequest, Diagnosis, diagnose};
use crate::message::Timestamp;

/// Maximum size of a captured request, in bytes.
const MAX_REQUEST_BYTES: u64 = 64 << 20;

/// Request to verify, and its time of arrival.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Source that the request was posted to.
    source: String,
    /// File with the body, if the captured request does not show it.
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// Time of arrival, like 2026-02-12T14:51:00Z. Default: now.
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    #[command(flatten)]
    output: Output,
}

/// Diagnosis of a request, with the configuration's warnings about its source.
#[derive(Serialize)]
struct Verified {
    source: String,
    warnings: Vec<String>,
    #[serde(flatten)]
    diagnosis: Diagnosis,
}

impl Report for Verified {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        for warning in &self.warnings {
            writeln!(out, "warning: {warning}")?;
        }
        for (number, step) in (1..).zip(&self.diagnosis.steps) {
            writeln!(out, "{number}. {:<4}  {:<8} {}", step.found, step.part, step.description)?;
        }
        writeln!(out, "verdict: {}", self.diagnosis.verdict)
    }
}

/// Reads a captured request from standard input, and prints step by step how the server would treat it.
pub(crate) fn run(
    config: &Config,
    arguments: &Arguments,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let source = source(config, &arguments.source)?;
    let body = arguments.body.as_ref().map(|file| {
        fs::read(file).map_err(|error| {
            let path = config::absolute(file);
            Failure::new(EX_NOINPUT, format!("cannot read {}: {error}", path.display()))
        })
    });
    let mut text = Vec::new();
    io::stdin().lock().take(MAX_REQUEST_BYTES).read_to_end(&mut text)?;
    let captured = CapturedRequest::read(&text, body.transpose()?)
        .map_err(|error| Failure::new(EX_USAGE, error.to_string()))?;
    // A secret that looks like a mistake is the first thing to report.
    let own = format!("sources.{}.", source.name);
    let warnings = config.warnings.iter().filter(|warning| warning.starts_with(&own));
    let now = arguments.at.unwrap_or_else(|| Clock::System.now());
    let diagnosis = diagnose(&config.sources, source, &captured, now);
    let verified =
        Verified { source: source.name.clone(), warnings: warnings.cloned().collect(), diagnosis };
    arguments.output.print(&verified, out)?;
    if verified.diagnosis.is_accepted {
        Ok(())
    } else {
        Err(Failure::new(EX_DATAERR, "the request is rejected"))
    }
}
