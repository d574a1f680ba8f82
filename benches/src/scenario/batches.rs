//! Deliveries of many entries, all at once, and queries at the same time.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use uuid::{Builder, Uuid};

use super::{Bench, ROUNDS};
use crate::figures::{Latency, Results, Round, Rounds};
use crate::load::{OnAnswer, Pace, Span, Stream, run};
use crate::receiver::Receiver;
use crate::requests::Requests;
use crate::round::{measure, only_tally, render_get, round_from};
use crate::server::Server;

/// Number of deliveries at once, each on its own connection.
pub(crate) const DELIVERIES: usize = 256;
/// Number of entries of each delivery.
pub(crate) const ENTRIES: usize = 800;
/// Number of queries.
const QUERIES: usize = 500;
/// Rate of the queries.
const QUERIES_PER_SECOND: f64 = 500.0;

/// Measures deliveries and queries, each round on an empty store.
pub(super) fn batches(bench: &Bench, results: &mut Results) -> Result<()> {
    let mut rounds = Rounds::new();
    for number in 0..ROUNDS {
        let [deliveries, queries] = round(bench, u64::try_from(number)?)?;
        super::print_progress("deliveries", &deliveries);
        super::print_progress("queries", &queries);
        rounds.entry("deliveries".to_owned()).or_default().push(deliveries);
        rounds.entry("queries".to_owned()).or_default().push(queries);
    }
    results.add_rounds("batches", rounds);
    Ok(())
}

fn round(bench: &Bench, seed: u64) -> Result<[Round; 2]> {
    let mut server = Server::start(&bench.paths, Receiver::Batches, &[])?;
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut first = Requests::default();
    let id = push_delivery(&mut first, 1, &mut rng);
    let mut ignore = |_, _, _: &[u8]| Ok(());
    only_tally(&run(
        server.address,
        vec![closed(&first, 1, &mut ignore)],
        Span::All,
        &mut |_| Ok(()),
    )?)?;

    let (mut deliveries, mut queries) = (Requests::default(), Requests::default());
    for _ in 0..DELIVERIES {
        push_delivery(&mut deliveries, ENTRIES, &mut rng);
    }
    for _ in 0..QUERIES {
        queries.push(|bytes| render_get(bytes, &format!("/api/messagestatus/{id}")));
    }
    let mut ignore_queries = |_, _, _: &[u8]| Ok(());
    let pace = Pace::Open(QUERIES_PER_SECOND);
    let query_stream = Stream { pace, ..closed(&queries, QUERIES, &mut ignore_queries) };
    let streams = vec![closed(&deliveries, DELIVERIES, &mut ignore), query_stream];
    let (tallies, usage) = measure(&server, streams, Span::All)?;
    for tally in &tallies {
        tally.check()?;
    }
    let [delivery_tally, query_tally] = tallies.as_slice() else {
        anyhow::bail!("not two streams")
    };
    let mut round = round_from(delivery_tally, &usage)?;
    // The latency includes answers with 503.
    let mut latency = delivery_tally.latency.clone();
    latency.add(&delivery_tally.refused_latency)?;
    round.latency = Latency::from_histogram(&latency).context("no answers")?;
    let queries = round_from(query_tally, &usage)?;
    server.stop()?;
    Ok([round, queries])
}

fn closed<'a>(requests: &'a Requests, connections: usize, on_answer: OnAnswer<'a>) -> Stream<'a> {
    Stream { requests, repeat: false, connections, pace: Pace::Closed, on_answer }
}

/// Adds a delivery of `entries` entries about new messages. Returns the id of the last message.
fn push_delivery(requests: &mut Requests, entries: usize, rng: &mut fastrand::Rng) -> Uuid {
    let mut last_id = Uuid::nil();
    let mut body = String::new();
    for _ in 0..entries {
        last_id = Builder::from_random_bytes(rng.u128(..).to_ne_bytes()).into_uuid();
        // Writing to a String does not fail.
        writeln!(body, "{last_id} 2026-02-12T14:50:35Z").unwrap_or_default();
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
    last_id
}
