//! `statusmirror verify`: why was it refused?

use std::fs;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use clap::Args;

use super::callback_url::source;
use super::{EX_DATAERR, EX_NOINPUT, EX_USAGE, Failure};
use crate::clock::Clock;
use crate::config::Config;
use crate::diagnosis::{Captured, diagnose};
use crate::message::Timestamp;

/// More than this is no webhook.
const LONGEST: u64 = 64 << 20;

/// What to judge, and when.
#[derive(Args)]
pub(super) struct Arguments {
    /// The source that it was posted to.
    source: String,
    /// The file that holds the body, where the request does not show it.
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// When it arrived, like 2026-02-12T14:51:00Z; now if not given.
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
}

/// Reads a request from standard input, and says step by step what the server makes of it.
pub(super) fn run(
    config: &Config,
    arguments: &Arguments,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let source = source(config, &arguments.source)?;
    let body = arguments.body.as_ref().map(|file| {
        fs::read(file).map_err(|error| {
            let whole = super::whole(file);
            Failure::new(EX_NOINPUT, format!("cannot read {}: {error}", whole.display()))
        })
    });
    let mut text = Vec::new();
    io::stdin().lock().take(LONGEST).read_to_end(&mut text)?;
    let captured = Captured::read(&text, body.transpose()?)
        .map_err(|error| Failure::new(EX_USAGE, error.to_string()))?;
    // A secret that is not quite the sender's is the first thing to know.
    let own = format!("sources.{}.", source.name);
    for warning in config.warnings.iter().filter(|warning| warning.starts_with(&own)) {
        writeln!(out, "warning: {warning}")?;
    }
    let now = arguments.at.unwrap_or_else(|| Clock::System.now());
    let diagnosis = diagnose(&config.sources, source, &captured, now);
    for (number, step) in (1..).zip(&diagnosis.steps) {
        writeln!(out, "{number}. {:<4}  {:<8} {}", step.found, step.what, step.words)?;
    }
    writeln!(out, "verdict: {}", diagnosis.verdict)?;
    if diagnosis.is_taken {
        Ok(())
    } else {
        Err(Failure::new(EX_DATAERR, "the request is refused"))
    }
}
