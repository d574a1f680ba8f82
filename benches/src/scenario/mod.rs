//! What is measured: each scenario is a function that runs its rounds and gives their figures.

mod batches;
mod disk;
mod fixture;
mod footprint;
mod growth;
mod ingest;
mod leak;
mod listeners;
mod memory;
mod reads;
mod ties;
mod views;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::ValueEnum;

pub(crate) use disk::{clear, sync_time};
pub(crate) use fixture::{Fixture, MESSAGES};
pub(crate) use ingest::{Load, ingest, round};
pub(crate) use leak::KINDS as LEAKS;
pub(crate) use reads::{Query, idle, paths};
pub(crate) use ties::LISTS;
pub(crate) use views::VIEWS;

use crate::corpus::{Batch, Corpus};
use crate::figures::{Results, Round, Rounds, median};
use crate::receiver::{Places, Receiver};

/// How many rounds of each subject.
pub(crate) const ROUNDS: usize = 5;
/// On how many connections, where nothing else is said.
pub(crate) const CONNECTIONS: usize = 64;
/// What others may use of the machine, in cores, before a round is repeated.
const OTHERS: f64 = 0.3;
/// How often a round is repeated at most.
const REPETITIONS: u32 = 3;
/// How many webhooks are rendered: more than any receiver that stores them takes in one round.
const WEBHOOKS: usize = 400_000;

/// What is measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// Every receiver at its capacity.
    Ingest,
    /// With and without metrics and logs.
    Overhead,
    /// With and without the sums of the hours.
    Sums,
    /// On 1, 8, 64 and 256 connections.
    Connections,
    /// On a schedule, at half of the own capacity.
    HalfLoad,
    /// On a schedule, at twice the own capacity.
    Overload,
    /// With a disk whose syncs take a millisecond longer.
    SlowDisk,
    /// Queries.
    Reads,
    /// The views of the page, one after the other.
    Views,
    /// Deliveries of many entries, all at once.
    Batches,
    /// With clients that listen to the event stream.
    Listeners,
    /// Pages of lists with many messages of the same second.
    Ties,
    /// Cost of one leaked callback URL.
    Leak,
    /// Start, memory, bytes on disk.
    Footprint,
    /// With up to ten million messages stored.
    Growth,
    /// With a file larger than memory.
    Memory,
}

impl Scenario {
    /// Those of a run without further arguments, in order.
    pub(crate) const DEFAULT: [Self; 14] = [
        Self::Ingest,
        Self::Overhead,
        Self::Sums,
        Self::Connections,
        Self::HalfLoad,
        Self::Overload,
        Self::SlowDisk,
        Self::Reads,
        Self::Views,
        Self::Batches,
        Self::Listeners,
        Self::Ties,
        Self::Leak,
        Self::Footprint,
    ];

    /// Runs it and adds what it found.
    pub(crate) fn run(self, bench: &mut Bench, results: &mut Results) -> Result<()> {
        match self {
            Self::Ingest => ingest::capacity(bench, results),
            Self::Overhead => ingest::overhead(bench, results),
            Self::Sums => ingest::sums(bench, results),
            Self::Connections => ingest::connections(bench, results),
            Self::HalfLoad => ingest::scheduled(bench, results, "half-load", 0.5),
            Self::Overload => ingest::scheduled(bench, results, "overload", 2.0),
            Self::SlowDisk => ingest::slow_disk(bench, results),
            Self::Reads => reads::reads(bench, results),
            Self::Views => views::views(bench, results),
            Self::Batches => batches::batches(bench, results),
            Self::Listeners => listeners::listeners(bench, results),
            Self::Ties => ties::ties(bench, results),
            Self::Leak => leak::leak(bench, results),
            Self::Footprint => footprint::footprint(bench, results),
            Self::Growth => growth::growth(bench, results),
            Self::Memory => memory::memory(bench, results),
        }
    }
}

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
    capacity: BTreeMap<Receiver, f64>,
}

impl Bench {
    /// Renders the webhooks.
    pub(crate) fn new(places: Places, without: Vec<Receiver>, busy: bool) -> Result<Self> {
        let mut corpus = Corpus::new(1, None)?;
        let webhooks = corpus.mixed(WEBHOOKS)?;
        Ok(Self { places, without, busy, corpus, webhooks, capacity: BTreeMap::new() })
    }

    /// Renders another number of webhooks.
    pub(crate) fn render(&mut self, webhooks: usize) -> Result<()> {
        self.corpus = Corpus::new(1, None)?;
        self.webhooks = self.corpus.mixed(webhooks)?;
        Ok(())
    }

    /// Those of these receivers that are not left out.
    pub(crate) fn among(&self, receivers: &[Receiver]) -> Vec<Receiver> {
        receivers.iter().filter(|receiver| !self.without.contains(receiver)).copied().collect()
    }

    /// How many webhooks a second a receiver takes on cores of its own, measured now unless it was before.
    fn capacity(&mut self, receiver: Receiver) -> Result<f64> {
        if let Some(known) = self.capacity.get(&receiver) {
            return Ok(*known);
        }
        let rounds = ingest(self, &[receiver], 3, |_| Load::closed(CONNECTIONS).divided())?;
        let taken = rounds.values().flatten().map(|round| round.per_second);
        let capacity = median(taken).context("no capacity")?;
        self.capacity.insert(receiver, capacity);
        Ok(capacity)
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
            let name = name(*subject);
            let mut taken = round(*subject).with_context(|| name.clone())?;
            for repeated in 1..=REPETITIONS {
                if taken.others <= OTHERS || bench.busy {
                    break;
                }
                taken = Round { repeated, ..round(*subject).with_context(|| name.clone())? };
            }
            progress(&name, &taken);
            all.entry(name).or_default().push(taken);
        }
    }
    Ok(all)
}

/// Says what a round gave.
#[expect(clippy::print_stderr, reason = "whoever runs the bench sees that it goes on")]
pub(crate) fn progress(name: &str, round: &Round) {
    let time = |micros: f64| Duration::from_secs_f64(micros.max(0.0) / 1e6);
    let others = if round.repeated > 0 { "others, repeated" } else { "others" };
    eprintln!(
        "  {name:<16} {:>8.0}/s  {:>7.2} µs CPU  p50 {:>9.2?}  p99 {:>9.2?}  refused {:>6.0}/s  \
         generator {:.1} µs  {:.2} {others}",
        round.per_second,
        round.cpu,
        time(round.latency.p50),
        time(round.latency.p99),
        round.refused,
        round.generator,
        round.others,
    );
}
