//! Where the log goes: standard error, readable on a terminal, JSON elsewhere. And where spans go.

mod json;
mod lines;
#[cfg(feature = "otlp")]
mod otlp;

use std::io::{IsTerminal, stderr};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use self::json::JsonLines;
pub(super) use self::lines::Lines;
#[cfg(feature = "otlp")]
pub(super) use self::otlp::Spans;
use super::{EX_CONFIG, Failure};
use crate::config::Log;

/// What our own messages come from.
const OURS: &str = "statusmirror";

/// Starts logging as configured. What is returned must be flushed before the process ends.
pub(super) fn start(log: &Log) -> Result<Lines, Failure> {
    let level: LevelFilter = log
        .level
        .parse()
        .map_err(|error| Failure::new(EX_CONFIG, format!("log.level: {error}")))?;
    // The level is for what this program says. Libraries repeat what strangers send, and take it for
    // errors; only what they warn of is worth an operator's time.
    let wanted = Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target("actix_http", LevelFilter::OFF)
        .with_target(OURS, level);
    let pretty = match log.format.as_str() {
        "pretty" => true,
        "json" => false,
        _ => stderr().is_terminal(),
    };
    let lines = Lines::start()?;
    let layer = if pretty {
        // A log that cannot be written must not stop the service. Complaining about it would: that
        // goes to standard error too, and panics where it fails.
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
    let started = tracing_subscriber::registry().with(wanted).with(layer).try_init();
    started.map_err(|error| Failure::io(format!("cannot log: {error}")))?;
    log_panics();
    Ok(lines)
}

/// Has a panic logged like everything else. The usual hook writes to standard error itself, and waits for
/// whoever reads it.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let words = panic.payload_as_str().unwrap_or_default();
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a thread panicked: {words}");
    }));
}
