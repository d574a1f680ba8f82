//! Webhooks at a receiver's capacity, or on a schedule.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::disk::sync_time;
use super::fixture::fill;
use super::{
    Bench, CONNECTIONS, ROUNDS, SCHEDULE_CONNECTIONS, SUSTAINED_WEBHOOKS, interleaved, sustained,
};
use crate::cores::CoreSplit;
use crate::corpus::Corpus;
use crate::figures::{Results, Round, Rounds};
use crate::load::{Pace, Span, Stream};
use crate::receiver::{Paths, Receiver};
use crate::round::{
    Acknowledged, WARM_UP, WINDOW_LENGTH, measure, measure_sustained, only_tally, round_from,
};
use crate::server::Server;
use crate::steady::FILLED_MESSAGES;

/// First seconds on an empty store, in which the cache of statusmirror fills.
const BURST: Span = Span::Window { warm_up: Duration::ZERO, length: Duration::from_secs(2) };
/// Additional time of a sync on the slow disk, in microseconds.
const SYNC_DELAY_MICROS: &str = "1000";

/// Load of webhooks on a server.
#[derive(Clone)]
pub(crate) struct Load {
    /// Number of connections. On a schedule it is an upper bound.
    connections: usize,
    /// Times at which webhooks are sent.
    pace: Pace,
    /// Whether the server and the generator have cores of their own.
    has_split_cores: bool,
    /// Environment variables of the server.
    environment: Vec<(&'static str, String)>,
    /// Duration of the load.
    span: Span,
    /// Whether the round begins when the state is steady and lasts longer, instead of the span.
    is_sustained: bool,
}

impl Load {
    /// Webhooks as fast as they are answered, on this number of connections.
    pub(crate) fn closed(connections: usize) -> Self {
        let span = Span::Window { warm_up: WARM_UP, length: WINDOW_LENGTH };
        Self {
            connections,
            pace: Pace::Closed,
            has_split_cores: false,
            environment: Vec::new(),
            span,
            is_sustained: false,
        }
    }

    /// The same as [`closed`](Self::closed), at the rate that the receiver keeps up. One that stores nothing
    /// keeps up every rate, so its rounds are the usual ones.
    pub(super) fn sustained(receiver: Receiver, connections: usize) -> Self {
        Self { is_sustained: receiver.stores(), ..Self::closed(connections) }
    }

    /// The same as [`closed`](Self::closed), at the rate that statusmirror keeps up. The other receivers have no
    /// cache that fills, so their rounds are the usual ones.
    pub(super) fn ours_sustained(receiver: Receiver, connections: usize) -> Self {
        Self { is_sustained: receiver == Receiver::Ours, ..Self::closed(connections) }
    }

    /// The same load for another duration.
    pub(crate) fn lasting(self, span: Span) -> Self {
        Self { span, ..self }
    }

    /// The same load with separate cores for the server and the generator.
    pub(super) fn with_split_cores(self) -> Self {
        Self { has_split_cores: true, ..self }
    }
}

/// Measures the first seconds on an empty store, and the ratio that `--quick` compares, as it does.
pub(super) fn burst(bench: &Bench, results: &mut Results) -> Result<()> {
    let receivers = [Receiver::Verified, Receiver::Floor, Receiver::Ours];
    let rounds = ingest(bench, &receivers, ROUNDS, |_| Load::closed(CONNECTIONS).lasting(BURST))?;
    results.add_rounds("burst", rounds);
    let receivers = [Receiver::Verified, Receiver::Ours];
    let rounds = ingest(bench, &receivers, ROUNDS, |_| Load::closed(CONNECTIONS))?;
    results.add_rounds("quick", rounds);
    Ok(())
}

/// Measures statusmirror with and without metrics and logs.
pub(super) fn overhead(bench: &Bench, results: &mut Results) -> Result<()> {
    let receivers = [Receiver::Watched, Receiver::Unwatched];
    // The difference is small, so its median is taken of more rounds.
    let rounds = ingest(bench, &receivers, 2 * ROUNDS, |_| Load::closed(CONNECTIONS))?;
    results.add_rounds("overhead", rounds);
    Ok(())
}

/// Measures statusmirror with and without hourly counts.
pub(super) fn sums(bench: &Bench, results: &mut Results) -> Result<()> {
    let receivers = [Receiver::Unwatched, Receiver::Unsummed];
    let rounds = ingest(bench, &receivers, 2 * ROUNDS, |_| Load::closed(CONNECTIONS))?;
    results.add_rounds("sums", rounds);
    Ok(())
}

/// Measures three receivers on few and on many connections. On one connection it also measures the sync time
/// of the disk.
pub(super) fn connections(bench: &mut Bench, results: &mut Results) -> Result<()> {
    bench.ensure_webhooks(SUSTAINED_WEBHOOKS)?;
    let receivers = [Receiver::Noop, Receiver::Verified, Receiver::Ours];
    for connections in [1, 8, 64, 256] {
        let mut syncs = Vec::new();
        let rounds = ingest(bench, &receivers, sustained::ROUNDS, |receiver| {
            if connections == 1 && receiver == Receiver::Ours {
                syncs.extend(sync_time(&bench.paths.data()));
            }
            Load::ours_sustained(receiver, connections)
        })?;
        results.add_rounds(&format!("connections-{connections}"), rounds);
        if connections == 1 {
            results.add_values("connections-1", "sync", syncs);
        }
    }
    Ok(())
}

/// Measures statusmirror and the naive design on a schedule, at a share of the capacity of each.
pub(super) fn scheduled(
    bench: &mut Bench,
    results: &mut Results,
    name: &str,
    share: f64,
) -> Result<()> {
    bench.ensure_webhooks(SUSTAINED_WEBHOOKS)?;
    let receivers = [Receiver::Ours, Receiver::NaiveFull];
    let mut rates = BTreeMap::new();
    for receiver in bench.included(&receivers) {
        rates.insert(receiver, bench.capacity(receiver)? * share);
    }
    let rounds = ingest(bench, &receivers, sustained::ROUNDS, |receiver| Load {
        pace: Pace::Open(rates.get(&receiver).copied().unwrap_or(f64::NAN)),
        ..Load::ours_sustained(receiver, SCHEDULE_CONNECTIONS).with_split_cores()
    })?;
    results.add_rounds(name, rounds);
    for (receiver, rate) in rates {
        results.add_values(name, &format!("{} a second", receiver.name()), vec![rate]);
    }
    Ok(())
}

/// Measures statusmirror and the naive design on a disk whose syncs take a millisecond longer.
pub(super) fn slow_disk(bench: &mut Bench, results: &mut Results) -> Result<()> {
    bench.ensure_webhooks(SUSTAINED_WEBHOOKS)?;
    let shim = compile_shim(&bench.paths)?;
    let receivers = [Receiver::Ours, Receiver::NaiveFull];
    let rounds = ingest(bench, &receivers, sustained::ROUNDS, |receiver| Load {
        environment: vec![
            ("LD_PRELOAD", shim.clone()),
            ("SYNC_DELAY", SYNC_DELAY_MICROS.to_owned()),
        ],
        ..Load::ours_sustained(receiver, CONNECTIONS)
    })?;
    results.add_rounds("slow-disk", rounds);
    Ok(())
}

/// Runs rounds of these receivers, each on an empty store, and reads every acknowledged message back.
pub(crate) fn ingest(
    bench: &Bench,
    receivers: &[Receiver],
    rounds: usize,
    mut load: impl FnMut(Receiver) -> Load,
) -> Result<Rounds> {
    let receivers = bench.included(receivers);
    interleaved(
        bench,
        &receivers,
        rounds,
        |receiver| receiver.name().to_owned(),
        |receiver| round(bench, receiver, &load(receiver)),
    )
}

/// Runs one round of one receiver.
pub(crate) fn round(bench: &Bench, receiver: Receiver, load: &Load) -> Result<Round> {
    let start = || Server::start(&bench.paths, receiver, &load.environment);
    let (mut server, _core_split) = if load.has_split_cores {
        CoreSplit::start(start).map(|(split, server)| (server, Some(split)))?
    } else {
        (start()?, None)
    };
    if let Some((_, shim)) = load.environment.iter().find(|(name, _)| *name == "LD_PRELOAD") {
        let [process, ..] = server.processes.as_slice() else { anyhow::bail!("no process") };
        let maps = fs::read_to_string(format!("/proc/{process}/maps"))?;
        ensure!(maps.contains(shim), "the server did not load slow_disk.so");
    }
    if load.is_sustained && receiver == Receiver::Ours {
        // More messages than the cache holds, so that it is full when the round begins.
        let batch = Corpus::new(5, None)?.fresh(FILLED_MESSAGES)?;
        fill(&server, &batch, &mut Acknowledged::default())?;
    }
    let (mut acknowledged, mut accepted) = (Acknowledged::default(), 0_u64);
    let webhooks = &bench.webhooks;
    let stream = Stream {
        requests: &webhooks.requests,
        repeat: !receiver.answers_queries(),
        connections: load.connections,
        pace: load.pace,
        on_answer: &mut |index, status, _| {
            accepted += u64::from((200..300).contains(&status));
            acknowledged.record(webhooks, index, status)
        },
    };
    let round = if load.is_sustained {
        measure_sustained(&server, stream)?
    } else {
        let (tallies, usage) = measure(&server, vec![stream], load.span)?;
        round_from(only_tally(&tallies)?, &usage)?
    };
    if receiver.answers_queries() {
        acknowledged.read_back(&server, &bench.corpus.ids)?;
    }
    server.stop()?;
    if receiver == Receiver::Floor {
        let records = records_in(&server.folder.join("receiver.db"))?;
        ensure!(records >= accepted, "{records} records of {accepted} accepted webhooks");
    }
    Ok(round)
}

/// Number of records in the file of the receiver `floor`. Each is a length and as many bytes.
fn records_in(path: &Path) -> Result<u64> {
    let mut file = BufReader::with_capacity(1 << 20, File::open(path)?);
    let mut records = 0;
    while !file.fill_buf()?.is_empty() {
        let mut length = [0; 4];
        file.read_exact(&mut length)?;
        let length = u64::from(u32::from_le_bytes(length));
        let copied = io::copy(&mut file.by_ref().take(length), &mut io::sink())?;
        ensure!(copied == length, "the last record is not complete");
        records += 1;
    }
    Ok(records)
}

/// Compiles the shim of the slow disk. Returns its path.
fn compile_shim(paths: &Paths) -> Result<String> {
    let shim = paths.target.join("slow_disk.so").display().to_string();
    let source = paths.root.join("benches/slow_disk.c");
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-O2", "-o", &shim])
        .arg(source)
        .arg("-ldl")
        .status()
        .context("cannot run cc; install a C compiler")?;
    ensure!(status.success(), "slow_disk.c does not compile");
    Ok(shim)
}
