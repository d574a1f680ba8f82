//! Store of messages with three notifications each, on which queries and the size of the file are measured.

use anyhow::{Result, ensure};

use super::Bench;
use crate::corpus::{Batch, Corpus};
use crate::load::{Pace, Span, Stream, run};
use crate::receiver::Receiver;
use crate::round::{Acknowledged, only_tally};
use crate::server::Server;

/// Number of messages, unless a scenario has its own.
pub(crate) const MESSAGES: usize = 100_000;
/// Number of messages that share a destination and a reference.
const MESSAGES_PER_LIST: usize = 50;
/// Number of connections that fill a store.
const CONNECTIONS: usize = 64;

/// Filled server, and its messages.
pub(crate) struct Fixture {
    pub(crate) server: Server,
    pub(crate) corpus: Corpus,
    pub(super) acknowledged: Acknowledged,
}

impl Fixture {
    /// Starts this binary or the earlier one, and fills its store.
    pub(crate) fn new(bench: &Bench, receiver: Receiver, messages: usize) -> Result<Self> {
        let mut corpus = Corpus::new(2, Some(messages / MESSAGES_PER_LIST))?;
        let batch = corpus.thrice(messages)?;
        let server = Server::start(&bench.paths, receiver, &[])?;
        let mut acknowledged = Acknowledged::default();
        fill(&server, &batch, &mut acknowledged)?;
        Ok(Self { server, corpus, acknowledged })
    }
}

/// Posts all webhooks of a batch. Fails if one is refused.
pub(super) fn fill(server: &Server, batch: &Batch, acknowledged: &mut Acknowledged) -> Result<()> {
    let stream = Stream {
        requests: &batch.requests,
        repeat: false,
        connections: CONNECTIONS,
        pace: Pace::Closed,
        on_answer: &mut |index, status, _| acknowledged.record(batch, index, status),
    };
    let tallies = run(server.address, vec![stream], Span::All, &mut |_| Ok(()))?;
    let tally = only_tally(&tallies)?;
    ensure!(tally.refused == 0, "{} webhooks were refused", tally.refused);
    Ok(())
}
