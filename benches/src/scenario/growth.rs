//! CPU per webhook with nothing, a million and ten million messages stored, whose ids are random.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::fixture::fill;
use super::ingest::{Load, ingest, round};
use super::{Bench, CONNECTIONS, ROUNDS, interleaved};
use crate::corpus::Corpus;
use crate::figures::{Results, Round};
use crate::load::{Pace, Span, Stream};
use crate::receiver::Receiver;
use crate::round::{Acknowledged, LENGTH, WARM_UP, figures, measure, sole};
use crate::server::Server;

/// How many webhooks are rendered at a time to fill a store.
const CHUNK: usize = 200_000;
/// How many are rendered for a round.
const WEBHOOKS: usize = 400_000;
/// What is stored when it is measured, by the name of the scenario.
const LEVELS: [(&str, usize); 2] = [("growth-1M", 1_000_000), ("growth-10M", 10_000_000)];

/// A server that holds more and more.
pub(super) struct Growing {
    pub(super) server: Server,
    pub(super) corpus: Corpus,
    pub(super) acknowledged: Acknowledged,
}

impl Growing {
    /// Ours, empty.
    pub(super) fn new(bench: &Bench) -> Result<Self> {
        let server = Server::start(&bench.places, Receiver::Ours, &[])?;
        Ok(Self { server, corpus: Corpus::new(3, None)?, acknowledged: Acknowledged::default() })
    }

    /// Posts new messages until there are so many. Returns how long it took.
    pub(super) fn grow(&mut self, messages: usize) -> Result<Duration> {
        let mut taken = Duration::ZERO;
        while let Some(missing) =
            messages.checked_sub(self.corpus.ids.len()).filter(|missing| *missing > 0)
        {
            let batch = self.corpus.fresh(missing.min(CHUNK))?;
            let since = Instant::now();
            fill(&self.server, &batch, &mut self.acknowledged)?;
            taken += since.elapsed();
        }
        Ok(taken)
    }

    /// The usual load on top of what is there.
    pub(super) fn round(&mut self) -> Result<Round> {
        let webhooks = self.corpus.mixed(WEBHOOKS)?;
        let acknowledged = &mut self.acknowledged;
        let stream = Stream {
            requests: &webhooks.requests,
            again: false,
            connections: CONNECTIONS,
            pace: Pace::Closed,
            answered: &mut |index, status, _| acknowledged.note(&webhooks, index, status),
        };
        let span = Span::Window { warm_up: WARM_UP, length: LENGTH };
        let (tallies, used, memory) = measure(&self.server, vec![stream], span)?;
        self.corpus.forget_unsent(self.acknowledged.messages());
        figures(sole(&tallies)?, &used, memory)
    }

    /// Reads back all that was acknowledged.
    pub(super) fn read_back(&self) -> Result<()> {
        self.acknowledged.read_back(&self.server, &self.corpus.ids)
    }
}

/// Each level beside verify-and-parse, which shows how fast the machine is at that time.
pub(super) fn growth(bench: &mut Bench, results: &mut Results) -> Result<()> {
    let receivers = [Receiver::Verified, Receiver::Ours];
    let load = Load::closed(CONNECTIONS);
    results.rounds("growth-0", ingest(bench, &receivers, ROUNDS, |_| load.clone())?);
    let mut growing = Growing::new(bench)?;
    for (name, messages) in LEVELS {
        let taken = growing.grow(messages)?;
        results.values(name, "seconds to fill", vec![taken.as_secs_f64()]);
        let rounds = interleaved(
            bench,
            &receivers,
            ROUNDS,
            |receiver| receiver.name().to_owned(),
            |receiver| {
                if receiver == Receiver::Ours {
                    growing.round()
                } else {
                    round(bench, receiver, &load)
                }
            },
        )?;
        results.rounds(name, rounds);
    }
    growing.read_back()?;
    growing.server.stop()
}
