//! Telemetry: output of log lines and trace spans.
//!
//! [`setup`] chooses the format: text on a terminal, JSON otherwise. [`level`] decides which messages are logged.
//! [`json`] renders a line, [`lines`] writes lines to standard error in a thread of its own, so that a reader that
//! stops blocks no other thread.

pub(crate) mod json;
pub(crate) mod level;
pub(crate) mod lines;
#[cfg(feature = "otlp")]
pub(crate) mod otlp;
pub(crate) mod setup;

pub(crate) use self::level::LogLevel;
pub(crate) use self::lines::Lines;
#[cfg(feature = "otlp")]
pub(crate) use self::otlp::Spans;
pub(crate) use self::setup::start;
