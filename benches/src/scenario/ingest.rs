//! Webhooks as fast as they are taken, or on a schedule.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::disk::sync_time;
use super::{Bench, CONNECTIONS, ROUNDS, interleaved};
use crate::cores::Divided;
use crate::figures::{Results, Round, Rounds};
use crate::load::{Pace, Span, Stream};
use crate::receiver::{Places, Receiver};
use crate::round::{Acknowledged, LENGTH, WARM_UP, figures, measure, sole};
use crate::server::Server;

/// The connections that a schedule may use: more than any receiver lets wait.
const SCHEDULED: usize = 4_096;
/// How much longer a sync takes on the slow disk, in microseconds.
const DELAY: &str = "1000";

/// How webhooks come.
#[derive(Clone)]
pub(crate) struct Load {
    /// On how many connections; on a schedule, at most.
    connections: usize,
    /// When.
    pace: Pace,
    /// Whether the server and the generator have cores of their own.
    divided: bool,
    /// What is in the server's environment.
    environment: Vec<(&'static str, String)>,
    /// For how long.
    span: Span,
}

impl Load {
    /// As fast as they are taken, on so many connections.
    pub(crate) fn closed(connections: usize) -> Self {
        let span = Span::Window { warm_up: WARM_UP, length: LENGTH };
        Self { connections, pace: Pace::Closed, divided: false, environment: Vec::new(), span }
    }

    /// The same for another time.
    pub(crate) fn lasting(self, span: Span) -> Self {
        Self { span, ..self }
    }

    /// The same with cores of its own for the server.
    pub(super) fn divided(self) -> Self {
        Self { divided: true, ..self }
    }
}

/// Every receiver at its capacity.
pub(super) fn capacity(bench: &Bench, results: &mut Results) -> Result<()> {
    use Receiver::{Express, Fastapi, NaiveFull, NaiveNormal, Noop, Ours, Postgres, Verified};
    let receivers = [Noop, Verified, Ours, NaiveFull, NaiveNormal, Fastapi, Express, Postgres];
    let rounds = ingest(bench, &receivers, ROUNDS, |_| Load::closed(CONNECTIONS))?;
    results.rounds("ingest", rounds);
    Ok(())
}

/// Ours with and without what tells how it is doing.
pub(super) fn overhead(bench: &Bench, results: &mut Results) -> Result<()> {
    let receivers = [Receiver::Watched, Receiver::Unwatched];
    // Of a difference that is small, the median of more rounds.
    let rounds = ingest(bench, &receivers, 2 * ROUNDS, |_| Load::closed(CONNECTIONS))?;
    results.rounds("overhead", rounds);
    Ok(())
}

/// Ours with and without the sums of the hours.
pub(super) fn sums(bench: &Bench, results: &mut Results) -> Result<()> {
    let receivers = [Receiver::Unwatched, Receiver::Unsummed];
    let rounds = ingest(bench, &receivers, 2 * ROUNDS, |_| Load::closed(CONNECTIONS))?;
    results.rounds("sums", rounds);
    Ok(())
}

/// Three receivers on few and on many connections; on one, beside what a sync of this disk takes.
pub(super) fn connections(bench: &mut Bench, results: &mut Results) -> Result<()> {
    let receivers = [Receiver::Noop, Receiver::Verified, Receiver::Ours];
    for connections in [1, 8, 64, 256] {
        let mut syncs = Vec::new();
        let rounds = ingest(bench, &receivers, ROUNDS, |receiver| {
            if connections == 1 && receiver == Receiver::Ours {
                syncs.extend(sync_time(&bench.places.data()));
            }
            Load::closed(connections)
        })?;
        results.rounds(&format!("connections-{connections}"), rounds);
        if connections == 1 {
            results.values("connections-1", "sync", syncs);
        }
    }
    Ok(())
}

/// Ours and the naive design on a schedule, at a share of what each can.
pub(super) fn scheduled(
    bench: &mut Bench,
    results: &mut Results,
    name: &str,
    share: f64,
) -> Result<()> {
    let receivers = [Receiver::Ours, Receiver::NaiveFull];
    let mut rates = BTreeMap::new();
    for receiver in bench.among(&receivers) {
        rates.insert(receiver, bench.capacity(receiver)? * share);
    }
    let rounds = ingest(bench, &receivers, ROUNDS, |receiver| Load {
        pace: Pace::Open(rates.get(&receiver).copied().unwrap_or(f64::NAN)),
        ..Load::closed(SCHEDULED).divided()
    })?;
    results.rounds(name, rounds);
    for (receiver, rate) in rates {
        results.values(name, &format!("{} a second", receiver.name()), vec![rate]);
    }
    Ok(())
}

/// Ours and the naive design on a disk whose syncs take a millisecond longer.
pub(super) fn slow_disk(bench: &mut Bench, results: &mut Results) -> Result<()> {
    let shim = compile(&bench.places)?;
    let receivers = [Receiver::Ours, Receiver::NaiveFull];
    let rounds = ingest(bench, &receivers, ROUNDS, |_| Load {
        environment: vec![("LD_PRELOAD", shim.clone()), ("SYNC_DELAY", DELAY.to_owned())],
        ..Load::closed(CONNECTIONS)
    })?;
    results.rounds("slow-disk", rounds);
    Ok(())
}

/// Rounds of these receivers, each on an empty store. Whatever was acknowledged is read back.
pub(crate) fn ingest(
    bench: &Bench,
    receivers: &[Receiver],
    rounds: usize,
    mut load: impl FnMut(Receiver) -> Load,
) -> Result<Rounds> {
    let receivers = bench.among(receivers);
    interleaved(
        bench,
        &receivers,
        rounds,
        |receiver| receiver.name().to_owned(),
        |receiver| round(bench, receiver, &load(receiver)),
    )
}

/// One round of one receiver.
pub(crate) fn round(bench: &Bench, receiver: Receiver, load: &Load) -> Result<Round> {
    let start = || Server::start(&bench.places, receiver, &load.environment);
    let (mut server, _divided) = if load.divided {
        Divided::start(start).map(|(divided, server)| (server, Some(divided)))?
    } else {
        (start()?, None)
    };
    if let Some((_, shim)) = load.environment.iter().find(|(name, _)| *name == "LD_PRELOAD") {
        let [process, ..] = server.processes.as_slice() else { anyhow::bail!("no process") };
        let maps = fs::read_to_string(format!("/proc/{process}/maps"))?;
        ensure!(maps.contains(shim), "the slow disk is not loaded");
    }
    let mut acknowledged = Acknowledged::default();
    let webhooks = &bench.webhooks;
    let stream = Stream {
        requests: &webhooks.requests,
        again: !receiver.stores(),
        connections: load.connections,
        pace: load.pace,
        answered: &mut |index, status, _| acknowledged.note(webhooks, index, status),
    };
    let (tallies, used, memory) = measure(&server, vec![stream], load.span)?;
    let tally = sole(&tallies)?;
    let round = figures(tally, &used, memory)?;
    if receiver.stores() {
        acknowledged.read_back(&server, &bench.corpus.ids)?;
    }
    server.stop()?;
    Ok(round)
}

/// Compiles the shim of the slow disk; where it is.
fn compile(places: &Places) -> Result<String> {
    let shim = places.target.join("slow_disk.so").display().to_string();
    let source = places.root.join("benches/slow_disk.c");
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-O2", "-o", &shim])
        .arg(source)
        .arg("-ldl")
        .status()
        .context("install a C compiler (cc)")?;
    ensure!(status.success(), "slow_disk.c does not compile");
    Ok(shim)
}
