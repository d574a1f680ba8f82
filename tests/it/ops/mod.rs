//! Operation: commands, process limits, log, metrics and traces.

mod commands;
mod doctor;
mod metrics;
#[cfg(feature = "otlp")]
mod otlp;
mod process_exit;
mod process_limits;
mod quarantine_commands;
mod request_log;
mod serve;
mod verify_command;
