//! Output of a command: text for people, or JSON for scripts.
//!
//! `docs/schemas` has a JSON Schema for each command with JSON output.

use std::io::{self, Write};

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::exit_code::Failure;

/// Format of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Text for people.
    Text,
    /// One line of JSON for scripts.
    Json,
}

/// Option for the format, of every command with JSON output.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Output {
    /// Format of the output: text for people, JSON for scripts.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Result of a command. Its JSON is the serialized value.
pub(crate) trait Report: Serialize {
    /// Writes the result as text.
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()>;
}

impl Output {
    /// Whether the output is JSON.
    pub(crate) fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// Prints a result.
    pub(crate) fn print(self, report: &impl Report, out: &mut dyn Write) -> Result<(), Failure> {
        match self.format {
            Format::Text => Ok(report.write_text(out)?),
            Format::Json => print_json(report, out),
        }
    }
}

/// Prints a value as one line of JSON.
pub(crate) fn print_json(value: &impl Serialize, out: &mut dyn Write) -> Result<(), Failure> {
    serde_json::to_writer(&mut *out, value).map_err(io::Error::from)?;
    Ok(writeln!(out)?)
}
