//! statusmirror whose store grows, on which sustained rounds are run.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::fixture::fill;
use super::{Bench, CONNECTIONS, SUSTAINED_WEBHOOKS};
use crate::corpus::{Batch, Corpus};
use crate::figures::Round;
use crate::load::{Pace, Stream};
use crate::receiver::Receiver;
use crate::round::{Acknowledged, measure_sustained};
use crate::server::Server;

/// Number of webhooks rendered at a time to fill a store.
const FILL_WEBHOOKS: usize = 200_000;
/// Number of lists of messages with a common destination and reference. At ten million messages each has 50.
pub(super) const LISTS: usize = 2_000;

/// Server whose store grows.
pub(super) struct GrowingStore {
    pub(super) server: Server,
    pub(super) corpus: Corpus,
    acknowledged: Acknowledged,
}

impl GrowingStore {
    /// Starts a statusmirror with an empty store.
    pub(super) fn new(bench: &Bench) -> Result<Self> {
        let server = Server::start(&bench.paths, Receiver::Ours, &[])?;
        let corpus = Corpus::new(3, None)?.with_lists(LISTS);
        Ok(Self { server, corpus, acknowledged: Acknowledged::default() })
    }

    /// Posts new messages until the store has `messages` of them. Returns the time that the webhooks took.
    pub(super) fn grow(&mut self, messages: usize) -> Result<Duration> {
        let mut elapsed = Duration::ZERO;
        while let Some(missing) =
            messages.checked_sub(self.messages()).filter(|missing| *missing > 0)
        {
            let batch = self.corpus.fresh(missing.min(FILL_WEBHOOKS))?;
            let since = Instant::now();
            fill(&self.server, &batch, &mut self.acknowledged)?;
            elapsed += since.elapsed();
        }
        Ok(elapsed)
    }

    /// Number of stored messages.
    pub(super) fn messages(&self) -> usize {
        self.corpus.ids.len()
    }

    /// Runs a sustained round of the usual load.
    pub(super) fn round(&mut self) -> Result<Round> {
        let webhooks = self.corpus.mixed(SUSTAINED_WEBHOOKS)?;
        self.round_of(&webhooks, CONNECTIONS, Pace::Closed)
    }

    /// Runs a sustained round of these webhooks, which are the last ones of the corpus.
    pub(super) fn round_of(
        &mut self,
        webhooks: &Batch,
        connections: usize,
        pace: Pace,
    ) -> Result<Round> {
        let acknowledged = &mut self.acknowledged;
        let stream = Stream {
            requests: &webhooks.requests,
            repeat: false,
            connections,
            pace,
            on_answer: &mut |index, status, _| acknowledged.record(webhooks, index, status),
        };
        let round = measure_sustained(&self.server, stream)?;
        self.corpus.forget_unsent(self.acknowledged.messages());
        Ok(round)
    }

    /// Checks that every acknowledged message can be read back, and stops the server.
    pub(super) fn finish(mut self) -> Result<()> {
        self.read_back()?;
        self.server.stop()
    }

    /// Checks that every acknowledged message can be read back.
    pub(super) fn read_back(&self) -> Result<()> {
        self.acknowledged.read_back(&self.server, &self.corpus.ids)
    }
}
