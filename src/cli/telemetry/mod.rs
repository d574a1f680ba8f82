//! Where the log goes: standard error, readable on a terminal, JSON elsewhere. And where spans go.

mod json;
mod lines;
#[cfg(feature = "otlp")]
mod otlp;

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::JsonFields;

use self::json::JsonLines;
pub(super) use self::lines::Lines;
#[cfg(feature = "otlp")]
pub(super) use self::otlp::Spans;
use super::{EX_CONFIG, Failure};
use crate::config::Log;

/// Starts logging as configured. What is returned must be flushed before the process ends.
pub(super) fn start(log: &Log) -> Result<Lines, Failure> {
    // The level is for what this program says. Libraries repeat what strangers send, and take it for
    // errors; only what they warn of is worth an operator's time.
    let filter = EnvFilter::try_new(format!("warn,actix_http=off,statusmirror={}", log.level))
        .map_err(|error| Failure::new(EX_CONFIG, format!("log.level: {error}")))?;
    let pretty = match log.format.as_str() {
        "pretty" => true,
        "json" => false,
        _ => stderr().is_terminal(),
    };
    let lines = Lines::start()?;
    // A log that cannot be written must not stop the service. Complaining about it would: that
    // goes to standard error too, and panics where it fails.
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(lines.clone())
        .log_internal_errors(false);
    let started = if pretty {
        subscriber.with_ansi(stderr().is_terminal()).with_target(false).try_init()
    } else {
        subscriber.fmt_fields(JsonFields::new()).event_format(JsonLines).try_init()
    };
    started.map_err(|error| Failure::io(format!("cannot log: {error}")))?;
    Ok(lines)
}
