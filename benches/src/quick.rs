//! The short form: CPU per webhook of ours ÷ verify-and-parse, and whether it is far above what was
//! committed. The ratio to another program differs between machines of one kind by a third, so the bound
//! is wide; `--against` compares with an earlier binary.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::figures::ratio;
use crate::receiver::Receiver;
use crate::scenario::{Bench, Load, ingest};

/// How many rounds of each.
const ROUNDS: usize = 5;
/// On how many connections.
const CONNECTIONS: usize = 64;
/// How many times the committed figure is accepted.
const TOLERANCE: f64 = 1.6;

/// The figure that a change is held against, in `committed.toml`.
#[derive(Serialize, Deserialize)]
pub(crate) struct Committed {
    /// CPU per webhook, ours ÷ verify-and-parse.
    pub(crate) cpu_ratio: f64,
}

impl Committed {
    /// What is committed.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Ok(toml::from_str(&text)?)
    }

    /// Replaces it.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text = toml::to_string(self)?;
        Ok(fs::write(path, format!("# Written by a full run of scripts/bench.\n{text}"))?)
    }

    fn holds(&self, measured: f64) -> bool {
        measured <= self.cpu_ratio * TOLERANCE
    }
}

/// Measures and prints the ratio. With `check` it fails if two repeats are both too far above the
/// committed figure.
pub(crate) fn quick(bench: &Bench, check: Option<&Committed>) -> Result<()> {
    let measured = measure(bench)?;
    let Some(committed) = check else { return Ok(()) };
    if committed.holds(measured) {
        return Ok(());
    }
    let again = measure(bench)?;
    if committed.holds(again) {
        return Ok(());
    }
    let committed = committed.cpu_ratio;
    bail!("{measured:.2} and {again:.2} are more than {TOLERANCE} × the committed {committed:.2}")
}

#[expect(clippy::print_stdout, reason = "this is what it is run for")]
fn measure(bench: &Bench) -> Result<f64> {
    let receivers = [Receiver::Verified, Receiver::Ours];
    let rounds = ingest(bench, &receivers, ROUNDS, |_| Load::closed(CONNECTIONS))?;
    let of = |receiver: Receiver| rounds.get(receiver.name()).map_or(&[][..], Vec::as_slice);
    let (ours, verified) = (of(Receiver::Ours), of(Receiver::Verified));
    let cpu = ratio(ours, verified, |round| Some(round.cpu)).context("no rounds")?;
    let throughput = ratio(ours, verified, |round| Some(round.per_second)).context("no rounds")?;
    println!("ours ÷ verify-and-parse: CPU {cpu:.2}, throughput {throughput:.2}");
    Ok(cpu)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_machine_is_tolerated_and_a_large_loss_is_not() {
        let committed = Committed { cpu_ratio: 2.0 };
        assert!(committed.holds(3.2) && committed.holds(1.0));
        assert!(!committed.holds(3.21));
    }
}
