//! Scenarios: each is a function that runs its rounds and adds their figures to the results.

mod batches;
mod disk;
mod fixture;
mod footprint;
mod growing_store;
mod growth;
mod ingest;
mod leak;
mod listeners;
mod memory;
mod reads;
mod sustained;
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
pub(crate) use reads::{Query, measure_idle, query_requests};
pub(crate) use ties::LISTS;
pub(crate) use views::VIEWS;

use crate::corpus::{Batch, Corpus};
use crate::figures::{Results, Round, Rounds, median};
use crate::receiver::{Paths, Receiver};

/// Number of rounds of each subject.
pub(crate) const ROUNDS: usize = 5;
/// Number of connections, unless a scenario has its own.
pub(crate) const CONNECTIONS: usize = 64;
/// CPU use of other processes, in cores, above which a round is repeated.
const MAX_OTHERS_CORES: f64 = 0.3;
/// Maximum number of repetitions of a round.
const MAX_REPETITIONS: u32 = 3;
/// Maximum number of connections of a schedule: more than any receiver has requests waiting.
const SCHEDULE_CONNECTIONS: usize = 4_096;
/// Number of rendered webhooks: more than any receiver stores in one round.
const WEBHOOKS: usize = 400_000;
/// Number of webhooks rendered for a sustained round and its lead-in, 1.7 GB.
const SUSTAINED_WEBHOOKS: usize = 2_000_000;

/// Scenario of the bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// First seconds on an empty store.
    Burst,
    /// Every receiver at the rate that it keeps up, with up to a million messages stored.
    Sustained,
    /// 10,000 webhooks per second, with 0.6 million messages stored.
    Rate,
    /// statusmirror with and without metrics and logs.
    Overhead,
    /// statusmirror with and without hourly counts.
    Sums,
    /// Webhooks on 1, 8, 64 and 256 connections.
    Connections,
    /// Webhooks on a schedule, at half of each receiver's capacity.
    HalfLoad,
    /// Webhooks on a schedule, at twice each receiver's capacity.
    Overload,
    /// Webhooks on a disk whose syncs take a millisecond longer.
    SlowDisk,
    /// Queries, with and without webhooks arriving.
    Reads,
    /// Views of the page, requested one after the other.
    Views,
    /// Deliveries of many entries, all at once.
    Batches,
    /// Webhooks while clients listen to the event stream.
    Listeners,
    /// Pages of lists with many messages of the same second.
    Ties,
    /// Cost of one leaked callback URL.
    Leak,
    /// Time to start, memory, and bytes on disk.
    Footprint,
    /// Webhooks and queries with ten million messages stored, and webhooks with thirty million.
    Growth,
    /// Webhooks and queries with a database file larger than memory.
    Memory,
}

impl Scenario {
    /// Scenarios of a run without further arguments, in order.
    pub(crate) const DEFAULT: [Self; 16] = [
        Self::Burst,
        Self::Sustained,
        Self::Rate,
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

    /// Runs the scenario and adds its figures.
    pub(crate) fn run(self, bench: &mut Bench, results: &mut Results) -> Result<()> {
        match self {
            Self::Burst => ingest::burst(bench, results),
            Self::Sustained => sustained::sustained(bench, results),
            Self::Rate => sustained::rate(bench, results),
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

/// Shared state of the scenarios.
pub(crate) struct Bench {
    /// Paths of programs and data.
    pub(crate) paths: Paths,
    /// Receivers that are left out.
    pub(crate) without: Vec<Receiver>,
    /// Whether rounds are kept even if other processes used the CPU.
    pub(crate) keeps_busy_rounds: bool,
    /// Messages of the webhooks.
    pub(crate) corpus: Corpus,
    /// Webhooks, the same for every receiver and round.
    pub(crate) webhooks: Batch,
    capacities: BTreeMap<Receiver, f64>,
}

impl Bench {
    /// Renders the webhooks.
    pub(crate) fn new(
        paths: Paths,
        without: Vec<Receiver>,
        keeps_busy_rounds: bool,
    ) -> Result<Self> {
        let mut corpus = Corpus::new(1, None)?;
        let webhooks = corpus.mixed(WEBHOOKS)?;
        let capacities = BTreeMap::new();
        Ok(Self { paths, without, keeps_busy_rounds, corpus, webhooks, capacities })
    }

    /// Replaces the webhooks by this number of newly rendered ones.
    pub(crate) fn render(&mut self, webhooks: usize) -> Result<()> {
        self.corpus = Corpus::new(1, None)?;
        self.webhooks = self.corpus.mixed(webhooks)?;
        Ok(())
    }

    /// Renders this number of webhooks, each about a new message.
    pub(crate) fn render_new_messages(&mut self, webhooks: usize) -> Result<()> {
        self.corpus = Corpus::new(1, None)?;
        self.webhooks = self.corpus.fresh(webhooks)?;
        Ok(())
    }

    /// Renders webhooks until there are this number of them. The first ones are the same as before.
    pub(crate) fn ensure_webhooks(&mut self, webhooks: usize) -> Result<()> {
        if self.webhooks.statements.len() < webhooks { self.render(webhooks) } else { Ok(()) }
    }

    /// The given receivers except those that are left out.
    pub(crate) fn included(&self, receivers: &[Receiver]) -> Vec<Receiver> {
        receivers.iter().filter(|receiver| !self.without.contains(receiver)).copied().collect()
    }

    /// Capacity of a receiver with cores of its own, in webhooks per second. Measured at the first call.
    fn capacity(&mut self, receiver: Receiver) -> Result<f64> {
        if let Some(capacity) = self.capacities.get(&receiver) {
            return Ok(*capacity);
        }
        let rounds = ingest(self, &[receiver], sustained::ROUNDS, |receiver| {
            Load::ours_sustained(receiver, CONNECTIONS).with_split_cores()
        })?;
        let rates = rounds.values().flatten().map(|round| round.per_second);
        let capacity = median(rates).context("no capacity")?;
        self.capacities.insert(receiver, capacity);
        Ok(capacity)
    }
}

/// Runs `rounds` rounds of each subject, the subjects in turn. Repeats a round in which other processes used
/// more than [`MAX_OTHERS_CORES`].
pub(crate) fn interleaved<T: Copy>(
    bench: &Bench,
    subjects: &[T],
    rounds: usize,
    name: impl Fn(T) -> String,
    mut round: impl FnMut(T) -> Result<Round>,
) -> Result<Rounds> {
    let mut all_rounds = Rounds::new();
    for _ in 0..rounds {
        for subject in subjects {
            let name = name(*subject);
            let mut figures = round(*subject).with_context(|| name.clone())?;
            for repeated in 1..=MAX_REPETITIONS {
                if figures.others <= MAX_OTHERS_CORES || bench.keeps_busy_rounds {
                    break;
                }
                figures = Round { repeated, ..round(*subject).with_context(|| name.clone())? };
            }
            print_progress(&name, &figures);
            all_rounds.entry(name).or_default().push(figures);
        }
    }
    Ok(all_rounds)
}

/// Prints the figures of a round.
#[expect(clippy::print_stderr, reason = "progress goes to standard error")]
pub(crate) fn print_progress(name: &str, round: &Round) {
    let time = |micros: f64| Duration::from_secs_f64(micros.max(0.0) / 1e6);
    let others = if round.repeated > 0 { "others, repeated" } else { "others" };
    let frames = round.wal_frames.map(|frames| format!(", {frames:.2} frames")).unwrap_or_default();
    let lead_in = round.lead_in.map_or_else(String::new, |lead_in| {
        let state = if lead_in.is_steady { "steady" } else { "not steady" };
        format!(", {state} after {:.0} s", lead_in.seconds)
    });
    eprintln!(
        "  {name:<16} {:>8.0}/s  {:>7.2} µs CPU  p50 {:>9.2?}  p99 {:>9.2?}  refused {:>6.0}/s  \
         generator {:.1} µs  {:.2} {others}  {:.0} B{frames}{lead_in}",
        round.per_second,
        round.cpu,
        time(round.latency.p50),
        time(round.latency.p99),
        round.refused,
        round.generator,
        round.others,
        round.written,
    );
}
