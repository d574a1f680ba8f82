//! Setup of the log: format, level, and the start of its output.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::fmt;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use super::json::JsonLines;
use super::level::LogLevel;
use super::lines::Lines;
use crate::cli::common::exit_code::{EX_CONFIG, Failure};
use crate::config::Log;

/// Starts logging as configured. Flush the returned lines before the process ends.
pub(crate) fn start(log: &Log) -> Result<(Lines, LogLevel), Failure> {
    let level = LogLevel::new(&log.level).ok_or_else(|| {
        Failure::new(EX_CONFIG, format!("log.level: unknown level {}", log.level))
    })?;
    let pretty = match log.format.as_str() {
        "pretty" => true,
        "json" => false,
        _ => stderr().is_terminal(),
    };
    let lines = Lines::start()?;
    let layer = if pretty {
        // A log that cannot be written must not stop the service. Reporting the error would: the report goes
        // to standard error too, and panics if that fails.
        fmt::layer()
            .with_writer(lines.clone())
            .log_internal_errors(false)
            .with_ansi(stderr().is_terminal())
            .with_target(false)
            .boxed()
    } else {
        let lines = lines.clone();
        JsonLines(move |line: &[u8]| lines.add(line)).boxed()
    };
    let started = tracing_subscriber::registry().with(level.clone()).with(layer).try_init();
    started.map_err(|error| Failure::io(format!("cannot log: {error}")))?;
    log_panics();
    Ok((lines, level))
}

/// Logs a panic like any other event. The default hook writes to standard error itself, and waits for its
/// reader.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or_default();
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a thread panicked: {message}");
    }));
}
