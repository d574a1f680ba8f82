//! Webhooks on a schedule while clients listen to the event stream.

use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::{Bench, CONNECTIONS, ROUNDS, interleaved};
use crate::figures::{Results, Round, float};
use crate::listener::{Listeners, StreamState};
use crate::load::{Pace, Span, Stream};
use crate::receiver::Receiver;
use crate::round::{measure, only_tally, round_from};
use crate::server::Server;

/// Warm-up and window of a round.
const SPAN: Span = Span::Window { warm_up: Duration::from_secs(1), length: Duration::from_secs(5) };
/// Time for clients to read the remaining events after the window.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// Number and filter of the listeners, and webhooks per second.
#[derive(Clone, Copy)]
struct Subject {
    name: &'static str,
    listeners: usize,
    /// Whether each listener subscribes to one phone number only.
    by_number: bool,
    per_second: f64,
}

const SUBJECTS: [Subject; 4] = [
    Subject { name: "none", listeners: 0, by_number: false, per_second: 3_000.0 },
    Subject { name: "100", listeners: 100, by_number: false, per_second: 3_000.0 },
    Subject { name: "1000-by-number", listeners: 1_000, by_number: true, per_second: 3_000.0 },
    Subject { name: "1000", listeners: 1_000, by_number: false, per_second: 200.0 },
];

/// Measures each subject on an empty store.
pub(super) fn listeners(bench: &Bench, results: &mut Results) -> Result<()> {
    let mut behind_counts = vec![Vec::new(); SUBJECTS.len()];
    let numbers: Vec<usize> = (0..SUBJECTS.len()).collect();
    let subject = |number: usize| SUBJECTS.get(number).copied().unwrap_or(SUBJECTS[0]);
    let rounds = interleaved(
        bench,
        &numbers,
        ROUNDS,
        |number| subject(number).name.to_owned(),
        |number| {
            let (round, behind) = round(bench, subject(number))?;
            if let Some(counts) = behind_counts.get_mut(number) {
                counts.push(float(behind));
            }
            Ok(round)
        },
    )?;
    results.add_rounds("listeners", rounds);
    for (subject, counts) in SUBJECTS.iter().zip(behind_counts) {
        results.add_values("listeners", &format!("{} behind", subject.name), counts);
    }
    Ok(())
}

/// Runs a round. Returns its figures and the number of listeners that fell behind. A listener fell behind if
/// the server ended its stream, or if it listens to all events and did not read the last one.
fn round(bench: &Bench, subject: Subject) -> Result<(Round, usize)> {
    let mut server = Server::start(&bench.paths, Receiver::Ours, &[])?;
    let query = |number: usize| {
        if subject.by_number {
            format!("?phonenumber={}", bench.corpus.destination(number).replace('+', "%2B"))
        } else {
            String::new()
        }
    };
    let queries: Vec<String> = (0..subject.listeners).map(query).collect();
    let listeners = Listeners::connect(server.address, &queries)?;
    let mut ignore = |_, _, _: &[u8]| Ok(());
    let stream = Stream {
        requests: &bench.webhooks.requests,
        repeat: false,
        connections: CONNECTIONS,
        pace: Pace::Open(subject.per_second),
        on_answer: &mut ignore,
    };
    let (tallies, usage) = measure(&server, vec![stream], SPAN)?;
    thread::sleep(DRAIN_TIME);
    let states = listeners.stop()?;
    let last_id = states.iter().map(|state| state.last_id).max().unwrap_or_default();
    let is_behind =
        |state: &&StreamState| state.has_ended || (!subject.by_number && state.last_id < last_id);
    let behind = states.iter().filter(is_behind).count();
    let round = round_from(only_tally(&tallies)?, &usage)?;
    server.stop()?;
    Ok((round, behind))
}
