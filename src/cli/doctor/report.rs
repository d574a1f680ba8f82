//! Report of the checks: one line for each finding, or all findings as JSON.

use std::io::Write;

use serde::Serialize;

use crate::cli::common::exit_code::{EX_UNAVAILABLE, Failure};
use crate::cli::common::output::{Output, print_json};
use crate::diagnosis::Found;

/// Findings so far.
pub(crate) struct Report<'a> {
    output: Output,
    out: &'a mut dyn Write,
    findings: Findings,
}

#[derive(Default, Serialize)]
struct Findings {
    checks: Vec<Check>,
    failed: usize,
}

#[derive(Serialize)]
struct Check {
    result: Found,
    subject: String,
    message: String,
}

impl<'a> Report<'a> {
    /// Creates a report without findings.
    pub(crate) fn new(output: Output, out: &'a mut dyn Write) -> Self {
        Self { output, out, findings: Findings::default() }
    }

    /// Adds a finding: the subject, the finding, and the remedy if there is one. As text, it is printed at once,
    /// because a later check may have to wait for an answer.
    pub(crate) fn print(
        &mut self,
        found: Found,
        label: &str,
        message: &str,
    ) -> Result<(), Failure> {
        if found == Found::Fail {
            self.findings.failed += 1;
        }
        if !self.output.is_json() {
            writeln!(self.out, "{found:<4}  {label}: {message}")?;
        }
        let (subject, message) = (label.to_owned(), message.to_owned());
        self.findings.checks.push(Check { result: found, subject, message });
        Ok(())
    }

    /// Ends the report; fails if a check failed.
    pub(crate) fn end(self) -> Result<(), Failure> {
        if self.output.is_json() {
            print_json(&self.findings, self.out)?;
        }
        match self.findings.failed {
            0 => Ok(()),
            1 => Err(Failure::new(EX_UNAVAILABLE, "1 check failed")),
            failed => Err(Failure::new(EX_UNAVAILABLE, format!("{failed} checks failed"))),
        }
    }
}
