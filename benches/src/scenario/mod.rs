//! What is measured: each scenario is a function that runs its rounds and gives their figures.

mod ingest;

use std::time::Duration;

use anyhow::Result;

pub(crate) use ingest::{Load, ingest};

use crate::corpus::{Batch, Corpus};
use crate::figures::{Round, Rounds};
use crate::receiver::{Places, Receiver};

/// What others may use of the machine, in cores, before a round is repeated.
const OTHERS: f64 = 0.3;
/// How often a round is repeated at most.
const REPETITIONS: u32 = 3;
/// How many webhooks are rendered: more than any receiver that stores them takes in one round.
const WEBHOOKS: usize = 400_000;

/// What all scenarios need.
pub(crate) struct Bench {
    /// Where everything lies.
    pub(crate) places: Places,
    /// The receivers that are left out.
    pub(crate) without: Vec<Receiver>,
    /// Whether rounds are taken as they are, however busy the machine is.
    pub(crate) busy: bool,
    /// The messages that the webhooks are about.
    pub(crate) corpus: Corpus,
    /// The webhooks, the same for every receiver and round.
    pub(crate) webhooks: Batch,
}

impl Bench {
    /// Renders the webhooks.
    pub(crate) fn new(places: Places, without: Vec<Receiver>, busy: bool) -> Result<Self> {
        let mut corpus = Corpus::new(1, None)?;
        let webhooks = corpus.mixed(WEBHOOKS)?;
        Ok(Self { places, without, busy, corpus, webhooks })
    }

    /// Those of these receivers that are not left out.
    pub(crate) fn among(&self, receivers: &[Receiver]) -> Vec<Receiver> {
        receivers.iter().filter(|receiver| !self.without.contains(receiver)).copied().collect()
    }
}

/// Runs these subjects in turn, so many rounds of each, and repeats a round in which others used
/// the machine.
pub(crate) fn interleaved<T: Copy>(
    bench: &Bench,
    subjects: &[T],
    rounds: usize,
    name: impl Fn(T) -> String,
    mut round: impl FnMut(T) -> Result<Round>,
) -> Result<Rounds> {
    let mut all = Rounds::new();
    for _ in 0..rounds {
        for subject in subjects {
            let mut taken = round(*subject)?;
            for repeated in 1..=REPETITIONS {
                if taken.others <= OTHERS || bench.busy {
                    break;
                }
                taken = Round { repeated, ..round(*subject)? };
            }
            progress(&name(*subject), &taken);
            all.entry(name(*subject)).or_default().push(taken);
        }
    }
    Ok(all)
}

/// Says what a round gave.
#[expect(clippy::print_stderr, reason = "whoever runs the bench sees that it goes on")]
fn progress(name: &str, round: &Round) {
    let milliseconds = |micros: f64| Duration::from_secs_f64(micros.max(0.0) / 1e6);
    eprintln!(
        "  {name:<14} {:>8.0}/s  {:>7.2} µs CPU  p50 {:>9.2?}  p99 {:>9.2?}  refused {:>6.0}/s  \
         generator {:.1} µs  others {:.2}{}",
        round.per_second,
        round.cpu,
        milliseconds(round.latency.p50),
        milliseconds(round.latency.p99),
        round.refused,
        round.generator,
        round.others,
        if round.repeated > 0 { "  (repeated)" } else { "" },
    );
}
