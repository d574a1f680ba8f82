//! Number of repetitions of each fault, seed and results.
//!
//! `FAULTS` is the number: `quick` (the default), `table` (as in `docs/reliability.md`) or `soak`.
//! `FAULTS_SEED` is the seed. Results are printed, and appended to the file that `FAULTS_REPORT` names.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::Instant;

use proptest::test_runner::{RngAlgorithm, TestRng};

/// How often to try, in each of the three sizes.
pub(crate) fn times(quick: u64, table: u64, soak: u64) -> u64 {
    match variable("FAULTS").as_deref() {
        None | Some("quick") => quick,
        Some("table") => table,
        Some("soak") => soak,
        Some(other) => panic!("FAULTS is quick, table or soak, not {other}"),
    }
}

/// Chance, the same for the same seed.
pub(crate) struct Chance {
    seed: u64,
    random: TestRng,
}

impl Chance {
    /// The chance of this run, for the test of this name.
    pub(crate) fn of(test: &str) -> Self {
        let seed = variable("FAULTS_SEED").map_or(1_u64, |seed| seed.parse().unwrap());
        eprintln!("{test}: FAULTS_SEED={seed}");
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        for (place, byte) in test.bytes().enumerate() {
            bytes[8 + place % 24] ^= byte.rotate_left(u32::try_from(place / 24).unwrap());
        }
        Self { seed, random: TestRng::from_seed(RngAlgorithm::ChaCha, &bytes) }
    }

    /// What generates values with this chance.
    pub(crate) fn random(&self) -> TestRng {
        self.random.clone()
    }

    /// A number below this one.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        use proptest::prelude::Rng;
        self.random.next_u64() % end.max(1)
    }
}

/// Prints what came of a fault test of this promise, and adds it to the report.
pub(crate) fn report(promise: &str, chance: &Chance, figures: &[(&str, u64)], since: Instant) {
    let figures: Vec<String> =
        figures.iter().map(|(name, figure)| format!("{figure} {name}")).collect();
    let line = format!(
        "{promise}\t{}, {:.0} s\tseed {}",
        figures.join(", "),
        since.elapsed().as_secs_f64(),
        chance.seed
    );
    eprintln!("{line}");
    if let Some(path) = variable("FAULTS_REPORT") {
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        writeln!(file, "{line}").unwrap();
    }
}

#[expect(clippy::disallowed_methods, reason = "how much is tried is said from outside")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
