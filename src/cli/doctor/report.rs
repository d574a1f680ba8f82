//! Report of the checks, one line for each finding.

use std::io::Write;

use crate::cli::common::exit_code::Failure;
use crate::diagnosis::Found;

/// Printed findings, and the number of failures.
pub(crate) struct Report<'a> {
    pub(crate) out: &'a mut dyn Write,
    pub(crate) failed: usize,
}

impl Report<'_> {
    /// Prints one line: the subject, the finding, and the remedy if there is one.
    pub(crate) fn print(
        &mut self,
        found: Found,
        label: &str,
        message: &str,
    ) -> Result<(), Failure> {
        if found == Found::Fail {
            self.failed += 1;
        }
        Ok(writeln!(self.out, "{found:<4}  {label}: {message}")?)
    }
}
