//! Report of a diagnosis: its steps and its verdict.

use std::fmt;

use serde::Serialize;

/// Result of a diagnosis.
#[derive(Debug, Serialize)]
pub struct Diagnosis {
    /// Steps, in the server's order.
    pub steps: Vec<Step>,
    /// Outcome of the request; if it is rejected, the mismatch and how to fix it.
    pub verdict: String,
    /// Whether the server would accept the request.
    #[serde(rename = "accepted")]
    pub is_accepted: bool,
}

/// One step of the diagnosis.
#[derive(Debug, Serialize)]
pub struct Step {
    /// Result of the step.
    #[serde(rename = "result")]
    pub found: Found,
    /// Subject of the step.
    pub part: &'static str,
    /// Found and expected values.
    pub description: String,
}

/// Result of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// As expected.
    Ok,
    /// Not necessarily wrong, but worth knowing.
    Warn,
    /// Not as expected.
    Fail,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        })
    }
}
