//! Cost of one leaked callback URL: rows, bytes and CPU.

use anyhow::Result;
use uuid::Builder;

use super::footprint::database_bytes;
use super::{Bench, CONNECTIONS};
use crate::corpus::SECRET;
use crate::figures::{Results, float};
use crate::load::{Pace, Span, Stream};
use crate::receiver::{Receiver, SIMULATED};
use crate::requests::Requests;
use crate::round::{measure, only_tally, round_from};
use crate::server::Server;

/// Kinds of webhooks: name in the figures, number of webhooks, stated status, and bytes of padding.
pub(crate) const KINDS: [(&str, usize, &str, usize); 3] = [
    ("messages", 100_000, "SENT", 0),
    ("quarantine", 50_000, "LOST", 0),
    ("large quarantine", 1_000, "LOST", 250_000),
];

/// Measures each kind at the server's capacity, on an empty store.
pub(super) fn leak(bench: &Bench, results: &mut Results) -> Result<()> {
    for (name, count, status, padding) in KINDS {
        let mut server = Server::start(&bench.paths, Receiver::Ours, &[])?;
        let requests = requests(count, status, padding);
        let mut ignore = |_, _, _: &[u8]| Ok(());
        let stream = Stream {
            requests: &requests,
            repeat: false,
            connections: CONNECTIONS,
            pace: Pace::Closed,
            on_answer: &mut ignore,
        };
        let (tallies, usage) = measure(&server, vec![stream], Span::All)?;
        let tally = only_tally(&tallies)?;
        let round = round_from(tally, &usage)?;
        super::print_progress(name, &round);
        server.stop()?;
        let bytes = database_bytes(&server.folder)?;
        let rows = tally.accepted;
        anyhow::ensure!(rows > 0, "{name}: nothing was stored");
        results.add_values("leak", &format!("{name} bytes"), vec![float(bytes) / float(rows)]);
        results.add_rounds("leak", [(name.to_owned(), vec![round])].into());
    }
    Ok(())
}

fn requests(count: usize, status: &str, padding: usize) -> Requests {
    let mut rng = fastrand::Rng::with_seed(7);
    let mut requests = Requests::default();
    let padding = "x".repeat(padding);
    for _ in 0..count {
        let id = Builder::from_random_bytes(rng.u128(..).to_ne_bytes()).into_uuid();
        let body = format!(
            r#"{{"type":"STATUS_UPDATE","padding":"{padding}","message":{{"id":"{id}","channel":"SMS","status":"{status}","statusChangedAt":"2026-02-12T14:50:35Z"}}}}"#
        );
        requests.push(|bytes| {
            let head = format!(
                "POST /webhooks/{SIMULATED}?token={SECRET} HTTP/1.1\r\nHost: bench\r\n\
                 Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            bytes.extend_from_slice(head.as_bytes());
            bytes.extend_from_slice(body.as_bytes());
        });
    }
    requests
}
