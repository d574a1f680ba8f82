//! Webhooks as fast as they are taken, or on a schedule.

use anyhow::Result;

use super::{Bench, interleaved};
use crate::figures::{Round, Rounds};
use crate::load::{Pace, Span, Stream};
use crate::receiver::Receiver;
use crate::round::{Acknowledged, LENGTH, WARM_UP, figures, measure};
use crate::server::Server;

/// How webhooks come.
#[derive(Clone)]
pub(crate) struct Load {
    /// On how many connections; on a schedule, at most.
    pub(crate) connections: usize,
    /// When.
    pub(crate) pace: Pace,
    /// What is in the server's environment.
    pub(crate) environment: Vec<(&'static str, String)>,
}

impl Load {
    /// As fast as they are taken, on so many connections.
    pub(crate) fn closed(connections: usize) -> Self {
        Self { connections, pace: Pace::Closed, environment: Vec::new() }
    }
}

/// Rounds of these receivers, each on an empty store. Whatever was acknowledged is read back.
pub(crate) fn ingest(
    bench: &Bench,
    receivers: &[Receiver],
    rounds: usize,
    load: impl Fn(Receiver) -> Load,
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

fn round(bench: &Bench, receiver: Receiver, load: &Load) -> Result<Round> {
    let mut server = Server::start(&bench.places, receiver, &load.environment)?;
    let mut acknowledged = Acknowledged::new(bench.corpus.ids.len());
    let webhooks = &bench.webhooks;
    let stream = Stream {
        requests: &webhooks.requests,
        again: !receiver.stores(),
        connections: load.connections,
        pace: load.pace,
        answered: &mut |index, status, _| match status {
            200..300 => acknowledged.note(webhooks, index),
            _ => Ok(()),
        },
    };
    let span = Span::Window { warm_up: WARM_UP, length: LENGTH };
    let (tallies, used, memory) = measure(&server, vec![stream], span)?;
    let [tally] = tallies.as_slice() else { anyhow::bail!("not one stream") };
    tally.sound()?;
    let round = figures(tally, &used, memory)?;
    if receiver.stores() {
        acknowledged.read_back(&server, &bench.corpus.ids)?;
    }
    server.stop()?;
    Ok(round)
}
