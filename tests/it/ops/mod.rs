//! Operation: commands, process limits, log, metrics and traces.

mod commands;
mod doctor;
mod json_output;
mod metrics;
mod newcomer_mistakes;
#[cfg(feature = "otlp")]
mod otlp;
mod process_exit;
mod process_limits;
mod quarantine_commands;
mod request_log;
mod serve;
mod verify_command;
