//! `statusmirror print-config`: settings in effect, with their origins.

use std::io::{self, Write};

use serde::Serialize;

use crate::cli::common::exit_code::Failure;
use crate::cli::common::output::{Output, Report};
use crate::config::{Config, Setting};

/// All settings in effect.
#[derive(Serialize)]
struct Printed<'a> {
    settings: &'a [Setting],
}

/// Prints every setting as a line of a configuration file, followed by its origin as a comment.
pub(crate) fn run(config: &Config, output: Output, out: &mut impl Write) -> Result<(), Failure> {
    output.print(&Printed { settings: &config.settings }, out)
}

impl Report for Printed<'_> {
    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        for setting in self.settings {
            let origin = setting.origin.as_deref().unwrap_or("default");
            writeln!(out, "{} = {}  # {origin}", setting.key, setting.toml())?;
        }
        Ok(())
    }
}
