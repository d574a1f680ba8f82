//! Deliveries of many entries, all at once, and queries meanwhile.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use uuid::Builder;

use super::{Bench, ROUNDS};
use crate::figures::{Latency, Results, Round, Rounds};
use crate::load::{Pace, Requests, Span, Stream, run};
use crate::receiver::Receiver;
use crate::round::{figures, get, measure, sole};
use crate::server::Server;

/// Deliveries that come at once, each on its own connection.
pub(crate) const DELIVERIES: usize = 256;
/// Entries of each.
pub(crate) const ENTRIES: usize = 800;
/// Queries that come meanwhile, and how many a second.
const QUERIES: usize = 500;
const PER_SECOND: f64 = 500.0;

/// Each round on an empty store.
pub(super) fn batches(bench: &Bench, results: &mut Results) -> Result<()> {
    let mut all = Rounds::new();
    for number in 0..ROUNDS {
        let [deliveries, queries] = round(bench, u64::try_from(number)?)?;
        super::progress("deliveries", &deliveries);
        super::progress("queries", &queries);
        all.entry("deliveries".to_owned()).or_default().push(deliveries);
        all.entry("queries".to_owned()).or_default().push(queries);
    }
    results.rounds("batches", all);
    Ok(())
}

fn round(bench: &Bench, seed: u64) -> Result<[Round; 2]> {
    let mut server = Server::start(&bench.places, Receiver::Batches, &[])?;
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut known = Requests::default();
    let id = delivery(&mut known, 1, &mut rng);
    let mut ignore = |_, _, _: &[u8]| Ok(());
    sole(&run(server.address, vec![closed(&known, 1, &mut ignore)], Span::All, &mut |_| Ok(()))?)?;

    let (mut deliveries, mut queries) = (Requests::default(), Requests::default());
    for _ in 0..DELIVERIES {
        delivery(&mut deliveries, ENTRIES, &mut rng);
    }
    for _ in 0..QUERIES {
        queries.push(|bytes| get(bytes, &format!("/api/messagestatus/{id}")));
    }
    let (mut answered, mut found) = (|_, _, _: &[u8]| Ok(()), |_, _, _: &[u8]| Ok(()));
    let asking = Stream { pace: Pace::Open(PER_SECOND), ..closed(&queries, QUERIES, &mut found) };
    let streams = vec![closed(&deliveries, DELIVERIES, &mut answered), asking];
    let (tallies, used, memory) = measure(&server, streams, Span::All)?;
    for tally in &tallies {
        tally.sound()?;
    }
    let [delivered, asked] = tallies.as_slice() else { anyhow::bail!("not two streams") };
    let mut round = figures(delivered, &used, memory)?;
    // Every answer counts, 503 included.
    let mut latency = delivered.latency.clone();
    latency.add(&delivered.refusal)?;
    round.latency = Latency::of(&latency).context("no answers")?;
    let queries = figures(asked, &used, memory)?;
    server.stop()?;
    Ok([round, queries])
}

fn closed<'a>(
    requests: &'a Requests,
    connections: usize,
    answered: crate::load::Answered<'a>,
) -> Stream<'a> {
    Stream { requests, again: false, connections, pace: Pace::Closed, answered }
}

/// Adds a delivery of so many entries about new messages; returns the id of the last one.
fn delivery(requests: &mut Requests, entries: usize, rng: &mut fastrand::Rng) -> uuid::Uuid {
    let mut last = uuid::Uuid::nil();
    let mut body = String::new();
    for _ in 0..entries {
        last = Builder::from_random_bytes(rng.u128(..).to_ne_bytes()).into_uuid();
        // Writing to a String does not fail.
        writeln!(body, "{last} 2026-02-12T14:50:35Z").unwrap_or_default();
    }
    requests.push(|bytes| {
        let head = format!(
            "POST /webhooks/batches HTTP/1.1\r\nHost: bench\r\nContent-Type: text/plain\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        bytes.extend_from_slice(head.as_bytes());
        bytes.extend_from_slice(body.as_bytes());
    });
    last
}
