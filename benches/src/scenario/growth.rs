//! CPU per webhook with none, one million and ten million messages stored, all with random ids.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::fixture::fill;
use super::ingest::{Load, ingest, round};
use super::{Bench, CONNECTIONS, ROUNDS, interleaved};
use crate::corpus::Corpus;
use crate::figures::{Results, Round};
use crate::load::{Pace, Span, Stream};
use crate::receiver::Receiver;
use crate::round::{Acknowledged, WARM_UP, WINDOW_LENGTH, measure, only_tally, round_from};
use crate::server::Server;

/// Number of webhooks rendered at a time to fill a store.
const FILL_WEBHOOKS: usize = 200_000;
/// Number of webhooks rendered for a round.
const ROUND_WEBHOOKS: usize = 400_000;
/// Number of stored messages, by the name of the scenario.
const LEVELS: [(&str, usize); 2] = [("growth-1M", 1_000_000), ("growth-10M", 10_000_000)];

/// Server whose store grows.
pub(super) struct GrowingStore {
    pub(super) server: Server,
    pub(super) corpus: Corpus,
    pub(super) acknowledged: Acknowledged,
}

impl GrowingStore {
    /// Starts a statusmirror with an empty store.
    pub(super) fn new(bench: &Bench) -> Result<Self> {
        let server = Server::start(&bench.paths, Receiver::Ours, &[])?;
        Ok(Self { server, corpus: Corpus::new(3, None)?, acknowledged: Acknowledged::default() })
    }

    /// Posts new messages until the store has `messages` of them. Returns the time that the webhooks took.
    pub(super) fn grow(&mut self, messages: usize) -> Result<Duration> {
        let mut elapsed = Duration::ZERO;
        while let Some(missing) =
            messages.checked_sub(self.corpus.ids.len()).filter(|missing| *missing > 0)
        {
            let batch = self.corpus.fresh(missing.min(FILL_WEBHOOKS))?;
            let since = Instant::now();
            fill(&self.server, &batch, &mut self.acknowledged)?;
            elapsed += since.elapsed();
        }
        Ok(elapsed)
    }

    /// Runs a round of the usual load on the stored messages.
    pub(super) fn round(&mut self) -> Result<Round> {
        let webhooks = self.corpus.mixed(ROUND_WEBHOOKS)?;
        let acknowledged = &mut self.acknowledged;
        let stream = Stream {
            requests: &webhooks.requests,
            repeat: false,
            connections: CONNECTIONS,
            pace: Pace::Closed,
            on_answer: &mut |index, status, _| acknowledged.record(&webhooks, index, status),
        };
        let span = Span::Window { warm_up: WARM_UP, length: WINDOW_LENGTH };
        let (tallies, usage, memory) = measure(&self.server, vec![stream], span)?;
        self.corpus.forget_unsent(self.acknowledged.messages());
        round_from(only_tally(&tallies)?, &usage, memory)
    }

    /// Checks that every acknowledged message can be read back.
    pub(super) fn read_back(&self) -> Result<()> {
        self.acknowledged.read_back(&self.server, &self.corpus.ids)
    }
}

/// Measures each level side by side with verify-and-parse, whose figures show the machine's current speed.
pub(super) fn growth(bench: &mut Bench, results: &mut Results) -> Result<()> {
    let receivers = [Receiver::Verified, Receiver::Ours];
    let load = Load::closed(CONNECTIONS);
    results.add_rounds("growth-0", ingest(bench, &receivers, ROUNDS, |_| load.clone())?);
    let mut store = GrowingStore::new(bench)?;
    for (name, messages) in LEVELS {
        let elapsed = store.grow(messages)?;
        results.add_values(name, "seconds to fill", vec![elapsed.as_secs_f64()]);
        let rounds = interleaved(
            bench,
            &receivers,
            ROUNDS,
            |receiver| receiver.name().to_owned(),
            |receiver| {
                if receiver == Receiver::Ours {
                    store.round()
                } else {
                    round(bench, receiver, &load)
                }
            },
        )?;
        results.add_rounds(name, rounds);
    }
    store.read_back()?;
    store.server.stop()
}
