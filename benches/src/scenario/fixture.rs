//! A store of messages with three notifications each, which queries and the size of the file are measured
//! on.

use anyhow::{Result, ensure};

use super::Bench;
use crate::corpus::{Batch, Corpus};
use crate::load::{Pace, Span, Stream, run};
use crate::receiver::Receiver;
use crate::round::{Acknowledged, sole};
use crate::server::Server;

/// How many messages there are, where nothing else is said.
pub(crate) const MESSAGES: usize = 100_000;
/// How many messages share a destination and a reference.
const EACH: usize = 50;
/// On how many connections a store is filled.
const CONNECTIONS: usize = 64;

/// A filled server, and what it was filled with.
pub(crate) struct Fixture {
    pub(crate) server: Server,
    pub(crate) corpus: Corpus,
    pub(super) acknowledged: Acknowledged,
}

impl Fixture {
    /// Starts ours or the earlier binary, and fills it.
    pub(crate) fn new(bench: &Bench, receiver: Receiver, messages: usize) -> Result<Self> {
        let mut corpus = Corpus::new(2, Some(messages / EACH))?;
        let batch = corpus.thrice(messages)?;
        let server = Server::start(&bench.places, receiver, &[])?;
        let mut acknowledged = Acknowledged::default();
        fill(&server, &batch, &mut acknowledged)?;
        Ok(Self { server, corpus, acknowledged })
    }
}

/// Posts all of these webhooks.
pub(super) fn fill(server: &Server, batch: &Batch, acknowledged: &mut Acknowledged) -> Result<()> {
    let stream = Stream {
        requests: &batch.requests,
        again: false,
        connections: CONNECTIONS,
        pace: Pace::Closed,
        answered: &mut |index, status, _| acknowledged.note(batch, index, status),
    };
    let tallies = run(server.address, vec![stream], Span::All, &mut |_| Ok(()))?;
    let tally = sole(&tallies)?;
    ensure!(tally.refused == 0, "{} webhooks were refused", tally.refused);
    Ok(())
}
