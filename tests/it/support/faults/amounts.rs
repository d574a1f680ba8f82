//! Number of repetitions of each fault, random seed and results.
//!
//! `FAULTS` selects the number: `quick` (the default), `table` (as in `docs/reliability.md`) or `soak`.
//! `FAULTS_SEED` is the seed. Results are printed, and appended to the file named in `FAULTS_REPORT`.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::Instant;

use proptest::test_runner::{RngAlgorithm, TestRng};

/// Number of repetitions for the value of `FAULTS`, one of the three.
pub(crate) fn repetitions(quick: u64, table: u64, soak: u64) -> u64 {
    match variable("FAULTS").as_deref() {
        None | Some("quick") => quick,
        Some("table") => table,
        Some("soak") => soak,
        Some(other) => panic!("FAULTS must be quick, table or soak, not {other}"),
    }
}

/// Random numbers, the same for the same seed and test.
pub(crate) struct SeededRng {
    seed: u64,
    rng: TestRng,
}

impl SeededRng {
    /// Random numbers for the test of this name, from `FAULTS_SEED`.
    pub(crate) fn for_test(test: &str) -> Self {
        let seed = variable("FAULTS_SEED").map_or(1_u64, |seed| seed.parse().unwrap());
        eprintln!("{test}: FAULTS_SEED={seed}");
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        for (index, byte) in test.bytes().enumerate() {
            bytes[8 + index % 24] ^= byte.rotate_left(u32::try_from(index / 24).unwrap());
        }
        Self { seed, rng: TestRng::from_seed(RngAlgorithm::ChaCha, &bytes) }
    }

    /// Copy of the generator in its current state, for proptest.
    pub(crate) fn test_rng(&self) -> TestRng {
        self.rng.clone()
    }

    /// Random number below `end`, which counts as 1 if it is 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        use proptest::prelude::Rng;
        self.rng.next_u64() % end.max(1)
    }
}

/// Prints the results of a fault test and appends them to the report. `promise` is the number of the promise
/// in `docs/reliability.md`.
pub(crate) fn report(promise: &str, rng: &SeededRng, figures: &[(&str, u64)], since: Instant) {
    let figures: Vec<String> =
        figures.iter().map(|(name, figure)| format!("{figure} {name}")).collect();
    let line = format!(
        "{promise}\t{}, {:.0} s\tseed {}",
        figures.join(", "),
        since.elapsed().as_secs_f64(),
        rng.seed
    );
    eprintln!("{line}");
    if let Some(path) = variable("FAULTS_REPORT") {
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        writeln!(file, "{line}").unwrap();
    }
}

#[expect(clippy::disallowed_methods, reason = "the environment sets the number of repetitions")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
