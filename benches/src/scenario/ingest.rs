//! Webhooks at a receiver's capacity, or on a schedule.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::disk::sync_time;
use super::{Bench, CONNECTIONS, ROUNDS, interleaved};
use crate::cores::CoreSplit;
use crate::figures::{Results, Round, Rounds};
use crate::load::{Pace, Span, Stream};
use crate::receiver::{Paths, Receiver};
use crate::round::{Acknowledged, WARM_UP, WINDOW_LENGTH, measure, only_tally, round_from};
use crate::server::Server;

/// Maximum number of connections of a schedule: more than any receiver has requests waiting.
const SCHEDULE_CONNECTIONS: usize = 4_096;
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
}

impl Load {
    /// Webhooks as fast as they are answered, on this number of connections.
    pub(crate) fn closed(connections: usize) -> Self {
        let span = Span::Window { warm_up: WARM_UP, length: WINDOW_LENGTH };
        let environment = Vec::new();
        Self { connections, pace: Pace::Closed, has_split_cores: false, environment, span }
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

/// Measures every receiver at its capacity.
pub(super) fn capacity(bench: &Bench, results: &mut Results) -> Result<()> {
    use Receiver::{Express, Fastapi, NaiveFull, NaiveNormal, Noop, Ours, Postgres, Verified};
    let receivers = [Noop, Verified, Ours, NaiveFull, NaiveNormal, Fastapi, Express, Postgres];
    let rounds = ingest(bench, &receivers, ROUNDS, |_| Load::closed(CONNECTIONS))?;
    results.add_rounds("ingest", rounds);
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
    let receivers = [Receiver::Noop, Receiver::Verified, Receiver::Ours];
    for connections in [1, 8, 64, 256] {
        let mut syncs = Vec::new();
        let rounds = ingest(bench, &receivers, ROUNDS, |receiver| {
            if connections == 1 && receiver == Receiver::Ours {
                syncs.extend(sync_time(&bench.paths.data()));
            }
            Load::closed(connections)
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
    let receivers = [Receiver::Ours, Receiver::NaiveFull];
    let mut rates = BTreeMap::new();
    for receiver in bench.included(&receivers) {
        rates.insert(receiver, bench.capacity(receiver)? * share);
    }
    let rounds = ingest(bench, &receivers, ROUNDS, |receiver| Load {
        pace: Pace::Open(rates.get(&receiver).copied().unwrap_or(f64::NAN)),
        ..Load::closed(SCHEDULE_CONNECTIONS).with_split_cores()
    })?;
    results.add_rounds(name, rounds);
    for (receiver, rate) in rates {
        results.add_values(name, &format!("{} a second", receiver.name()), vec![rate]);
    }
    Ok(())
}

/// Measures statusmirror and the naive design on a disk whose syncs take a millisecond longer.
pub(super) fn slow_disk(bench: &mut Bench, results: &mut Results) -> Result<()> {
    let shim = compile_shim(&bench.paths)?;
    let receivers = [Receiver::Ours, Receiver::NaiveFull];
    let rounds = ingest(bench, &receivers, ROUNDS, |_| Load {
        environment: vec![
            ("LD_PRELOAD", shim.clone()),
            ("SYNC_DELAY", SYNC_DELAY_MICROS.to_owned()),
        ],
        ..Load::closed(CONNECTIONS)
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
    let mut acknowledged = Acknowledged::default();
    let webhooks = &bench.webhooks;
    let stream = Stream {
        requests: &webhooks.requests,
        repeat: !receiver.stores(),
        connections: load.connections,
        pace: load.pace,
        on_answer: &mut |index, status, _| acknowledged.record(webhooks, index, status),
    };
    let (tallies, usage, memory) = measure(&server, vec![stream], load.span)?;
    let tally = only_tally(&tallies)?;
    let round = round_from(tally, &usage, memory)?;
    if receiver.stores() {
        acknowledged.read_back(&server, &bench.corpus.ids)?;
    }
    server.stop()?;
    Ok(round)
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
