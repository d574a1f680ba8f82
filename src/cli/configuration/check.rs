//! `statusmirror check-config`: validates the configuration and prints a summary with its warnings.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use crate::cli::common::exit_code::{EX_CONFIG, Failure};
use crate::cli::common::output::{Output, Report};
use crate::config::{self, Config, ConfigError, Secrets};

/// Options of the check.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Exit with an error if there are warnings.
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    output: Output,
}

/// Result of the check.
#[derive(Serialize)]
struct Checked {
    valid: bool,
    file: Option<PathBuf>,
    errors: Vec<String>,
    warnings: Vec<String>,
    /// Summary of the configuration, if it is valid.
    summary: Option<Summary>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    listen: String,
    internal_listen: Option<String>,
    /// Absolute path of the database.
    database: PathBuf,
    /// Path of the database as it is written, if that is relative to the working directory.
    #[serde(skip)]
    relative_database: Option<PathBuf>,
    sources: Vec<Source>,
    api_keys: Vec<ApiKey>,
}

#[derive(Serialize)]
struct Source {
    name: String,
    dialect: &'static str,
    scheme: &'static str,
}

#[derive(Serialize)]
struct ApiKey {
    name: String,
    expires: Option<String>,
}

/// Prints a summary of the configuration. With `strict`, a warning is an error.
pub(crate) fn run(
    file: Option<&Path>,
    arguments: &Arguments,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let Arguments { strict, output } = arguments;
    let file = file.map(Path::to_owned);
    let config = config::read(file.as_deref(), Secrets::Ephemeral)
        .and_then(|config| config.require_settings().map(|()| config));
    let config = match config {
        Ok(config) => config,
        Err(error) => {
            if output.is_json() {
                output.print(&Checked::invalid(file, &error), out)?;
            }
            return Err(error.into());
        }
    };
    let checked = Checked::valid(config);
    output.print(&checked, out)?;
    match checked.warnings.len() {
        count if *strict && count > 0 => {
            let warnings = if count == 1 { "warning" } else { "warnings" };
            let message = format!("{count} {warnings}; with --strict, warnings are errors");
            Err(Failure::new(EX_CONFIG, message))
        }
        _ => Ok(()),
    }
}

impl Checked {
    fn invalid(file: Option<PathBuf>, error: &ConfigError) -> Self {
        Self { valid: false, file, errors: error.messages(), warnings: Vec::new(), summary: None }
    }

    fn valid(config: Config) -> Self {
        let sources = config.sources.iter().map(|source| Source {
            name: source.name.clone(),
            dialect: source.dialect.name(),
            scheme: source.scheme.name(),
        });
        let api_keys = config.api_keys.iter().map(|key| ApiKey {
            name: key.name.clone(),
            expires: key.expires.map(|expires| expires.to_string()),
        });
        let written = config.written_database;
        let summary = Summary {
            listen: config.server.listen,
            internal_listen: config.server.internal_listen,
            database: config.store.path,
            relative_database: written.is_relative().then_some(written),
            sources: sources.collect(),
            api_keys: api_keys.collect(),
        };
        let (file, warnings) = (config.file, config.warnings);
        Self { valid: true, file, errors: Vec::new(), warnings, summary: Some(summary) }
    }
}

impl Report for Checked {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        let Some(summary) = &self.summary else { return Ok(()) };
        writeln!(out, "The configuration is valid.")?;
        match &self.file {
            Some(file) => writeln!(out, "file:     {}", file.display())?,
            None => writeln!(out, "file:     none; defaults and environment variables apply")?,
        }
        writeln!(out, "listen:   {}", summary.listen)?;
        if let Some(listen) = &summary.internal_listen {
            writeln!(out, "internal: {listen}")?;
        }
        let database = summary.database.display();
        match &summary.relative_database {
            Some(written) => {
                writeln!(out, "database: {}", written.display())?;
                writeln!(out, "          in this working directory: {database}")?;
            }
            None => writeln!(out, "database: {database}")?,
        }
        for Source { name, dialect, scheme } in &summary.sources {
            writeln!(out, "source:   {name} ({dialect}, {scheme})")?;
        }
        for key in &summary.api_keys {
            match &key.expires {
                Some(expires) => writeln!(out, "API key:  {} (until {expires})", key.name)?,
                None => writeln!(out, "API key:  {}", key.name)?,
            }
        }
        for warning in &self.warnings {
            writeln!(out, "warning:  {warning}")?;
        }
        Ok(())
    }
}
