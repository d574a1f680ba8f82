//! Quick check: CPU per webhook of statusmirror ÷ verify-and-parse, compared with the committed ratio. The
//! ratio differs by a third between machines of one kind, so the tolerance is wide. `--against` compares with
//! an earlier binary.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::figures::ratio;
use crate::receiver::Receiver;
use crate::scenario::{Bench, Load, ingest};

/// Number of rounds of each receiver.
const ROUNDS: usize = 5;
/// Number of connections.
const CONNECTIONS: usize = 64;
/// Maximum ratio of a measured figure to the committed one.
const TOLERANCE: f64 = 1.6;

/// Committed figure of `committed.toml`, which a change is compared with.
#[derive(Serialize, Deserialize)]
pub(crate) struct Committed {
    /// CPU per webhook, statusmirror ÷ verify-and-parse.
    pub(crate) cpu_ratio: f64,
}

impl Committed {
    /// Reads the committed figure.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Ok(toml::from_str(&text)?)
    }

    /// Replaces the committed figure.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text = toml::to_string(self)?;
        Ok(fs::write(path, format!("# Written by a full run of scripts/bench.\n{text}"))?)
    }

    fn tolerates(&self, measured: f64) -> bool {
        measured <= self.cpu_ratio * TOLERANCE
    }
}

/// Measures and prints the ratio. With a committed figure it measures a second time if the ratio is too high,
/// and fails if both are.
pub(crate) fn quick(bench: &Bench, committed: Option<&Committed>) -> Result<()> {
    let first = measure(bench)?;
    let Some(committed) = committed else { return Ok(()) };
    if committed.tolerates(first) {
        return Ok(());
    }
    let second = measure(bench)?;
    if committed.tolerates(second) {
        return Ok(());
    }
    let committed = committed.cpu_ratio;
    bail!("{first:.2} and {second:.2} are more than {TOLERANCE} × the committed {committed:.2}")
}

#[expect(clippy::print_stdout, reason = "the ratio is the output of the command")]
fn measure(bench: &Bench) -> Result<f64> {
    let receivers = [Receiver::Verified, Receiver::Ours];
    let rounds = ingest(bench, &receivers, ROUNDS, |_| Load::closed(CONNECTIONS))?;
    let rounds_of = |receiver: Receiver| rounds.get(receiver.name()).map_or(&[][..], Vec::as_slice);
    let (ours, verified) = (rounds_of(Receiver::Ours), rounds_of(Receiver::Verified));
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
        assert!(committed.tolerates(3.2) && committed.tolerates(1.0));
        assert!(!committed.tolerates(3.21));
    }
}
